"""`nooble why` and the API behind it: the sentence first, fields below, JSON, exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionHandle, ActionNotFound, BaseRedisClient, Cause, DomainAction, InvalidId, State
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, ProbeService, action, soon, until, working


async def claim(client: BaseRedisClient, slots: int) -> None:
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    await engine.claim(DOMAIN, "w1", slots)


async def test_a_handle_says_why(redis: Redis, client: BaseRedisClient, probe: ProbeService) -> None:
    handle = await client.enqueue_action("probe.wait", 1, tenant_id="acme", tier="enterprise")
    waiting = await handle.why()
    assert waiting.state is State.READY
    assert waiting.causes[0].cause is Cause.NO_WORKER
    async with working(redis, probe):
        await probe.next_started()
        running = await handle.why()
        assert (running.state, running.attempt) == (State.RUNNING, 1)
        assert running.worker in running.sentence
        probe.gate.set()
        assert await soon(handle.result()) == 1
    over = await client.inspector.why(handle.action_id)
    assert (over.state, over.domain) == (State.COMPLETED, DOMAIN)
    assert over.sentence.startswith(f"{handle.action_id} completed at ")


async def test_nobody_knows_it(client: BaseRedisClient) -> None:
    with pytest.raises(ActionNotFound, match="any domain: none has been served"):
        await client.inspector.why("0198f0")
    await client.send_action_async(action(action_id="0198f0c2a7"))
    with pytest.raises(ActionNotFound, match="did you mean '0198f0c2a7'") as told:
        await client.inspector.why("0198f0", DOMAIN)
    assert "for 5 to 10 minutes after its end" in str(told.value)
    with pytest.raises(InvalidId):
        await client.inspector.why("a b")


@pytest.mark.parametrize("columns", [80, 120])
async def test_the_sentence_first_then_figures(client: BaseRedisClient, nooble: Nooble, columns: int) -> None:
    await client.enqueue_actions([action(action_id=f"a{n}", tenant_tier="free") for n in range(14)])
    await claim(client, 20)
    done = await nooble("why", "a12", columns=columns)
    assert done.code == 0
    first, fields = done.out.split("\n\n", 1)
    told = (
        "acme is held: its limit 10/minute is used up. a12 is 3rd in acme's line; it starts at the earliest"
    )
    assert " ".join(first.split()).startswith(told)
    names = [line[:16].strip() for line in fields.splitlines() if line[:1].strip()]
    assert names == [
        "action",
        "domain, state",
        "ready since",
        "before it",
        "limit",
        "own line",
        "earliest start",
    ]
    assert max(map(len, done.out.splitlines())) <= columns


async def test_json(client: BaseRedisClient, nooble: Nooble) -> None:
    await client.enqueue_actions([action(action_id=f"a{n}", tenant_tier="free") for n in range(12)])
    await claim(client, 20)
    told: dict[str, Any] = json.loads((await nooble("why", "a11", "--domain", DOMAIN, "--json")).out)
    assert (told["state"], told["ahead"], told["ahead_exact"], told["tier"]) == ("held", 1, True, "free")
    assert [cause["cause"] for cause in told["causes"]] == ["limit", "own_line"]
    assert told["causes"][0]["until_ms"] == told["earliest_start_ms"]
    assert set(told["causes"][0]) == {"cause", "text", "until_ms"}
    assert told["sentence"].endswith(" s.")


async def test_unknown_on_the_command_line(client: BaseRedisClient, nooble: Nooble) -> None:
    await client.send_action_async(action(action_id="0198f0c2a7"))
    await claim(client, 0)
    done = await nooble("why", "0198f0c2a8")
    assert (done.code, done.out) == (1, "")
    assert "did you mean '0198f0c2a7'?" in " ".join(done.err.split())


async def test_workers_say_what_they_handle(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker:
        await client.operator.pause("domain", by="ana")
        handle = await client.enqueue_action("probe.nothing", tenant_id="acme", tier="enterprise")
        causes = (await handle.why()).causes
        assert [each.cause for each in causes] == [Cause.PAUSED, Cause.NO_HANDLER]
        assert (
            "no worker of probe handles probe.nothing (they handle probe.echo, probe.fail, probe.wait)"
            in (causes[1].text)
        )
        known = await client.enqueue_action("probe.echo", tenant_id="acme", tier="enterprise")
        assert [each.cause for each in (await known.why()).causes] == [Cause.PAUSED, Cause.OWN_LINE]
        worker.phase.quiet()
        await until(lambda: _has(known, Cause.WORKERS_QUIET), "the worker says that it is quiet")


async def _has(handle: ActionHandle, cause: Cause) -> bool:
    return cause in {each.cause for each in (await handle.why()).causes}


class Anything(ProbeService):
    """Takes whatever comes."""

    async def process_action(self, action: DomainAction) -> None:
        """Take it."""


async def test_a_service_that_takes_anything_does_not_say_so(redis: Redis, client: BaseRedisClient) -> None:
    async with working(redis, Anything()):
        await client.operator.pause("domain", by="ana")
        handle = await client.enqueue_action("probe.nothing", tenant_id="acme", tier="enterprise")
        assert [each.cause for each in (await handle.why()).causes] == [Cause.PAUSED]


async def test_what_never_started_did_not_run(client: BaseRedisClient, nooble: Nooble) -> None:
    await claim(client, 1)
    await client.enqueue_actions([action(action_id="a0"), action(action_id="a1")])
    assert await client.cancellations.one("a0")
    done = await nooble("why", "a0")
    assert "was cancelled at" in done.text
    assert " end cancelled 20" in done.text
    assert "attempt" not in done.text
    assert " ran " not in done.text
