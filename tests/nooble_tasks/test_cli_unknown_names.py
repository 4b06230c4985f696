"""Operators' commands with a name that is not there: error, near names, nothing changed, JSON on demand."""

from __future__ import annotations

import json
import shlex

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, Outcome
from nooble_tasks._engine import Finish
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action

TENANT, TIER, WHERE, TYPE = "'acme'?", "'free'?", "'probe'?", "'probe.echo'?"

LOOKING = {
    "tenants prob": WHERE,
    "tenants --tier fre": TIER,
    "tiers prob": WHERE,
    "status prob --once": WHERE,
    "limits acmee": TENANT,
    "limits acme --domain prob": WHERE,
    "limits acme --tier fre": TIER,
    "why a11x": "'a11'?",
    "why a1 --domain prob": WHERE,
    "tenant show acmee": TENANT,
    "tenant show acme --domain prob": WHERE,
    "operations --domain prob": WHERE,
    "dead list --domain prob": WHERE,
    "dead list --tenant acmee": TENANT,
    "dead list --type probe.ecko": TYPE,
    "dead show nope": "nooble dead list",
    "dead show a0 --tenant acmee": TENANT,
    "cron list --domain prob": WHERE,
    "cron show mornin": "'morning'?",
    "cron show morning --domain prob": WHERE,
    "cron next mornin": "'morning'?",
    "workers list --domain prob": WHERE,
    "policy show 99": "99",
}
STEERING = {
    "tenant set acmee --weight 2": TENANT,
    "tenant set acme --weight 2 --domain prob": WHERE,
    "tenant clear acmee": TENANT,
    "tenant clear acme wieght": "'weight'?",
    "tenant pause acmee": TENANT,
    "tenant pause acme --domain prob": WHERE,
    "tenant resume acmee": TENANT,
    "tenant register acme fre": TIER,
    "tenant register acme free --domain prob": WHERE,
    "tenant move acmee free": TENANT,
    "tenant move acme fre": TIER,
    "tenant move acme free --domain prob": WHERE,
    "tenant unregister acmee": TENANT,
    "tenant drain acmee": TENANT,
    "tenant drain acme --end --domain prob": WHERE,
    "pause tier fre": TIER,  # before it asks for --yes
    "pause tier free --domain prob": WHERE,
    "pause domain prob": WHERE,
    "pause type probe.ecko": TYPE,
    "pause type prob.echo": WHERE,
    "resume tier fre": TIER,
    "resume domain prob": WHERE,
    "resume type probe.ecko": TYPE,
    "resume limit opnai": "unknown limit",
    "cancel a1 --domain prob": WHERE,
    "cancel --tenant acmee": TENANT,
    "cancel --tier fre": TIER,
    "cancel --type probe.ecko --yes": TYPE,
    "cancel --all --domain prob": WHERE,
    "dead redrive nope": "nooble dead list",
    "dead redrive --tenant acmee": TENANT,
    "dead redrive --type probe.ecko": TYPE,
    "dead redrive --all --domain prob": WHERE,
    "dead discard --tenant acmee": TENANT,
    "dead discard --all --domain prob": WHERE,
    "cron create x probe.echo --tenant acmee --every 5": TENANT,
    "cron create x probe.ecko --tenant acme --every 5": TYPE,
    "cron create x prob.echo --tenant acme --every 5": WHERE,
    "cron create x probe.echo --tenant acme --every 5 --tier fre": TIER,
    "cron edit mornin --every 5": "'morning'?",
    "cron edit morning --tier fre": TIER,
    "cron pause mornin": "'morning'?",
    "cron resume mornin": "'morning'?",
    "cron run-now mornin": "'morning'?",
    "cron delete mornin": "'morning'?",
    "cron delete morning --domain prob": WHERE,
    "workers quiet --worker ww1": "'w1'?",
    "workers drain --domain prob": WHERE,
    "workers stop --domain prob": WHERE,
    "policy rollback 99": "99",
}
MISUSED = ["cancel", "dead redrive", "dead discard", "workers stop", "tenant set acme", "tenants --sort age"]


@pytest.fixture
async def busy(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    await client.bus.policies.join([DOMAIN], by="w1")
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    await client.enqueue_actions([action(action_id=f"a{n}", tenant_tier="free") for n in range(12)])
    [first] = (await engine.claim(DOMAIN, "w1", 1)).actions
    await engine.finish(DOMAIN, "w1", [Finish(first, Outcome.DEAD, reason="bad")])
    await client.schedules.create("morning", "probe.echo", tenant_id="acme", every=3600, by="ana")
    return client


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys()}


@pytest.mark.parametrize(("command", "told"), [*LOOKING.items(), *STEERING.items()])
async def test_a_name_that_is_not_there_changes_nothing(
    busy: BaseRedisClient, nooble: Nooble, command: str, told: str
) -> None:
    before = await everything(busy.bus.redis)
    done = await nooble(*shlex.split(command))
    assert (done.code, done.out) == (1, "")
    assert told in " ".join(done.err.split())
    as_json = await nooble(*shlex.split(command), "--json")
    error = json.loads(as_json.out)["error"]
    assert (as_json.code, as_json.err) == (1, "")
    assert told in error["message"]
    assert error["code"] not in ("", "nooble_error")
    assert await everything(busy.bus.redis) == before


@pytest.mark.parametrize("command", MISUSED)
async def test_wrong_usage_is_json_too(busy: BaseRedisClient, nooble: Nooble, command: str) -> None:
    done = await nooble(*shlex.split(command))
    assert (done.code, done.out) == (2, "")
    done = await nooble(*shlex.split(command), "--json")
    assert (done.code, json.loads(done.out)["error"]["code"], done.err) == (2, "wrong_usage", "")


async def test_what_nobody_has_seen_can_be_meant(busy: BaseRedisClient, nooble: Nooble) -> None:
    assert (await nooble("pause", "type", "probe.ecko", "--unseen")).code == 0
    assert (await nooble("resume", "type", "probe.ecko")).text == "resumed type probe.ecko in probe"
    create = "cron create x probe.ecko --tenant acmee --every 5 --unseen"
    assert (await nooble(*create.split())).code == 0
    create = "cron create y probe.transcribe.everything --tenant zebra --every 5"
    assert (await nooble(*create.split())).code == 0


async def test_nothing_to_tell_of_a_tenant_is_said(busy: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("tenant", "show", "acme")
    assert done.out.splitlines()[0].startswith("domain")
    await busy.operator.register_tenant("newcomer", "free", by="ana")
    assert (await nooble("tenant", "show", "newcomer")).out == "probe: registered for free\n"
