"""`nooble dead`: tables, JSON, exit codes, what cannot be meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from nooble_tasks._engine import Finish, Outcome
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action


@pytest.fixture
async def buried(redis: Redis, client: BaseRedisClient) -> list[str]:
    """Three of `acme`, one of `b`, the first with two attempts."""
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    ids = [f"{tenant}-{n}" for n, tenant in enumerate(["acme", "acme", "acme", "b"])]
    await client.enqueue_actions(
        [action(data={"n": 1}, action_id=each, tenant_id=each.split("-")[0]) for each in ids]
    )
    claimed = {each.action_id: each for each in (await engine.claim(DOMAIN, "w1", 10)).actions}
    await engine.finish(DOMAIN, "w1", [Finish(claimed["acme-0"], Outcome.RETRY, reason="OSError: disk full")])
    claimed |= {each.action_id: each for each in (await engine.claim(DOMAIN, "w1", 10)).actions}
    for each in ids:
        reason = "KeyError: [bold]'x'[/bold] and then some more words, so that it is long\nline two"
        await engine.finish(DOMAIN, "w1", [Finish(claimed[each], Outcome.DEAD, reason=reason)])
    return ids


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_list_that_fits(buried: list[str], nooble: Nooble, columns: int) -> None:
    done = await nooble("dead", "list", columns=columns)
    assert done.code == 0
    for each in buried:
        assert each in done.out
    assert "KeyError: [bold]'x'" in done.text
    assert "line two" not in done.out
    assert max(map(len, done.out.splitlines())) <= columns
    assert "4 of 4 dead letters" in done.err


async def test_list_as_json_and_by_filter(buried: list[str], nooble: Nooble) -> None:
    done = await nooble("dead", "list", "--tenant", "acme", "--since", "2h", "--limit", "2", "--json")
    told = json.loads(done.out)
    assert told["total"] == 4
    assert [each["action_id"] for each in told["letters"]] == ["acme-2", "acme-1"]
    assert told["letters"][0]["domain"] == DOMAIN
    none = await nooble("dead", "list", "--domain", DOMAIN, "--until", "2h", "--json")
    assert json.loads(none.out)["letters"] == []


async def test_show(buried: list[str], nooble: Nooble) -> None:
    done = await nooble("dead", "show", "acme-0", columns=80)
    assert done.code == 0
    assert "OSError: disk full" in done.text
    assert "tenant acme, tier enterprise, domain probe" in done.text
    assert '"n": 1' in done.out
    told: dict[str, Any] = json.loads((await nooble("dead", "show", "acme-0", "--json")).out)
    assert told["action"]["data"] == {"n": 1}
    assert [each["attempt"] for each in told["attempts"]] == [1, 2]
    missing = await nooble("dead", "show", "nobody")
    assert (missing.code, "nooble dead list" in missing.err) == (1, True)


async def test_redrive(buried: list[str], nooble: Nooble, client: BaseRedisClient) -> None:
    dry = await nooble("dead", "redrive", "--tenant", "acme", "--dry-run")
    assert (dry.code, dry.out) == (0, "3 dead letters would be redriven\n")
    done = await nooble("dead", "redrive", "--tenant", "acme", "--rate", "6/m")
    assert (done.code, done.out) == (0, "3 of 3 redriven\n")
    assert await client.redis_client.zcard(client.bus.keys.of("scheduled", DOMAIN)) == 2
    assert await client.dead_letters.count(DOMAIN) == {"b": 1}
    missing = await nooble("dead", "redrive", "acme-0")
    assert (missing.code, "no dead letter acme-0" in missing.err) == (1, True)
    last = await nooble("dead", "redrive", "--all", "--json", "--by", "ada", "--why", "disk is new")
    assert json.loads(last.out)["domains"][DOMAIN]["done"] == 1
    log = await nooble("operations")
    assert "redrive dead letters: tenant_id=acme" in log.text
    assert "ada redrive dead letters: everything disk is new" in log.text


async def test_what_cannot_go_back_is_told(
    buried: list[str], nooble: Nooble, client: BaseRedisClient
) -> None:
    await client.redis_client.hset(client.bus.keys.of("actions", DOMAIN), "b-3", "b:enterprise -")
    done = await nooble("dead", "redrive", "b-3")
    assert (done.code, done.out) == (1, "0 of 1 redriven\n")
    assert "an action of that id is alive" in done.err


async def test_discard_asks_or_wants_a_yes(
    buried: list[str], nooble: Nooble, client: BaseRedisClient
) -> None:
    asked = await nooble("dead", "discard", "--tenant", "acme")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert await client.dead_letters.count(DOMAIN) == {"acme": 3, "b": 1}
    done = await nooble("dead", "discard", "--tenant", "acme", "--yes")
    assert (done.code, done.out) == (0, "3 of 3 discarded\n")
    assert await client.dead_letters.count(DOMAIN) == {"b": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["redrive"], 2, "which ones?"),
        (["redrive", "--all", "--rate", "fast"], 2, "50/s"),
        (["redrive", "--all", "--rate", "0/s"], 2, "50/s"),
        (["list", "--since", "yesterday"], 2, "30m, 2h, 7d"),
        (["list", "--since", "2030-01-31T09:00:00"], 2, "no time zone"),
        (["list", "--tenant", "a:b"], 1, "tenant_id"),
        (["list", "--domain", "A B"], 1, "domain"),
    ],
)
async def test_wrong_usage(
    buried: list[str], nooble: Nooble, arguments: list[str], code: int, said: str
) -> None:
    done = await nooble("dead", *arguments)
    assert done.code == code
    assert said in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
