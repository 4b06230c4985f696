"""`nooble simulate record`: what a queue did becomes a trace, and nothing recorded is lost unsaid."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Disconnected

from nooble_tasks import BaseRedisClient, DomainAction, Outcome
from nooble_tasks._engine import Finish
from nooble_tasks.cli import simulate_record
from nooble_tasks.cli.simulate_record import History
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import make_client

POLICY = """
default_tier = "free"
[tiers.free]
priority = 1
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiers.toml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_record_of_what_happened_is_a_trace(
    redis: Redis, nooble: Nooble, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(redis, "api_service")
    engine = client.bus.engine
    await engine.publish_policy("load")
    await engine.extend("load", "w1", register=True)
    for number in range(6):
        await client.enqueue_action(
            DomainAction(action_type="load.job", tenant_id=f"t{number % 2}", tenant_tier="free")
        )
    claimed = (await engine.claim("load", "w1", 10)).actions
    now_ms = engine.clock.now_ms()
    done = [Finish(each, Outcome.COMPLETED, run_time_us=2_500_000) for each in claimed[1:]]
    await engine.finish(
        "load", "w1", [Finish(claimed[0], Outcome.RETRY, due_ms=now_ms, run_time_us=7_000), *done]
    )
    [again] = (await engine.claim("load", "w1", 10)).actions
    await engine.finish("load", "w1", [Finish(again, Outcome.COMPLETED, run_time_us=9_000)])
    await client.close()

    recorded = await nooble("simulate", "record", "load", "day.csv")
    assert recorded.code == 0, recorded.err
    rows = list(csv.DictReader((folder / "day.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["outcome"] for row in rows] == ["retry", *["completed"] * 6]
    assert {row["tenant"] for row in rows} == {"t0", "t1"}
    assert [row["run_ms"] for row in rows] == ["7", *["2500"] * 5, "9"]
    assert rows[-1]["attempt"] == "2"
    assert int(rows[-1]["arrival_ms"]) >= int(rows[0]["arrival_ms"])

    replayed = await nooble("simulate", "--policy", "tiers.toml", "--trace", "day.csv", "--json")
    assert replayed.code == 0, replayed.err
    told = json.loads(replayed.out)
    assert (told["load"]["domain"], told["load"]["actions"], told["seed"]) == ("load", 7, None)
    [free] = told["runs"][0]["tiers"]
    assert (free["tier"], free["worker_ms"]) == ("free", 5 * 2_500 + 7 + 9)


async def test_a_record_of_a_domain_with_a_typo(redis: Redis, nooble: Nooble) -> None:
    await redis.sadd("nooble::domains", "embedding")  # type: ignore[misc]
    done = await nooble("simulate", "record", "embeding", "-")
    assert done.code == 1
    assert "no domain 'embeding', did you mean 'embedding'?" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("domain", "url", "says"),
    [
        ("embeding", "", "did you mean 'embedding'?"),
        ("embedding", "redis://127.0.0.1:1/0", "does not answer"),
    ],
)
async def test_a_record_that_cannot_begin_leaves_an_earlier_one_alone(
    redis: Redis,
    nooble: Nooble,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    domain: str,
    url: str,
    says: str,
) -> None:
    await redis.sadd("nooble::domains", "embedding")  # type: ignore[misc]
    (folder / "day.csv").write_text("yesterday\n", encoding="utf-8")
    if url:
        monkeypatch.setenv("NOOBLE_REDIS_URL", url)
    for follow in ((), ("--follow",)):
        done = await nooble("simulate", "record", domain, "day.csv", *follow)
        assert done.code == 1
        assert says in " ".join(done.err.split())
    assert (folder / "day.csv").read_text(encoding="utf-8") == "yesterday\n"


async def test_a_record_goes_where_it_can_be_written(redis: Redis, nooble: Nooble) -> None:
    await redis.sadd("nooble::domains", "embedding")  # type: ignore[misc]
    done = await nooble("simulate", "record", "embedding", "none/day.csv")
    assert (done.code, done.err) == (
        1,
        "nooble: none/day.csv: cannot be written: No such file or directory\n",
    )


async def test_events_that_were_dropped_before_they_were_read_are_told(
    redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    client = make_client(redis, "api_service")
    key = client.bus.engine.keys.of("events", "load")
    line = "outcome 5 a{} load.job t1:free completed 1 2000 1 3"

    async def tell(*numbers: int) -> None:
        for number in numbers:
            await redis.xadd(key, {"lines": line.format(number)}, id=f"{number}-0")

    history = History("load")
    await tell(1, 2)
    assert len(await history.more(client)) == 2
    await tell(3)
    assert len(await history.more(client)) == 1
    assert not capsys.readouterr().err
    await tell(4, 5)
    await redis.xtrim(key, maxlen=1, approximate=False)
    assert len(await history.more(client)) == 1
    assert "events were dropped before they were read" in capsys.readouterr().err
    assert await history.more(client) == []
    assert not capsys.readouterr().err
    await client.close()


async def test_a_record_outlives_a_restart_of_the_server(
    redis: Redis, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate_record, "AGAIN_S", 0.0)
    client = make_client(redis, "api_service")
    answers: Iterator[Exception | list[list[Any]]] = iter([Disconnected("a"), Disconnected("b"), [["row"]]])

    class Away(History):
        async def more(self, client: BaseRedisClient) -> list[list[Any]]:
            answer = next(answers, None)
            if answer is None:
                raise asyncio.CancelledError  # Ctrl-C
            if isinstance(answer, Exception):
                raise answer
            return answer

    to = io.StringIO()
    assert await simulate_record.write(Away("load"), client, [], to, follow=True) == 1
    assert to.getvalue().splitlines()[1:] == ["row"]
    assert capsys.readouterr().err.count("tried again every") == 1
    await client.close()
