"""`nooble tenant`, `pause`, `resume`, `operations`: what they say, what they ask, how they end."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, NoobleError
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action


@pytest.fixture
async def sent(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    await client.bus.engine.publish_policy(DOMAIN)
    await client.bus.engine.extend(DOMAIN, "w1", register=True)
    await client.enqueue_actions([action(action_id=f"a{n}", tenant_tier="free") for n in range(12)])
    return client


async def test_a_tenants_time_zone(sent: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("tenant", "set", "acme", "--time-zone", "Europe/Madird")
    assert (done.code, "unknown time zone 'Europe/Madird', did you mean 'Europe/Madrid'?" in done.err) == (
        1,
        True,
    )
    done = await nooble("tenant", "set", "acme", "--time-zone", "Europe/Madrid", "--by", "ana")
    assert (done.code, done.text) == (0, "set the rules of acme in probe")
    assert "probe: time zone Europe/Madrid (set by ana, 20" in (await nooble("tenant", "show", "acme")).text
    assert (await nooble("tenant", "clear", "acme", "time-zone")).text == "cleared time-zone of acme in probe"
    assert "time zone" not in (await nooble("tenant", "show", "acme")).text


async def test_a_tenants_rules(sent: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("tenant", "set", "acme", "--limit", "3/minute", "--weight", "2", "--by", "ana")
    assert (done.code, done.text) == (0, "set the rules of acme in probe")
    done = await nooble("tenant", "show", "acme", "--json")
    [domain] = json.loads(done.out)["domains"]
    override: dict[str, Any] = domain["override"]
    assert (override["weight"], override["limits"], override["by"]) == (2.0, ["3/minute"], "ana")
    assert domain["tiers"][0]["own_rules"] is True
    done = await nooble("tenant", "show", "acme")
    assert "probe: weight 2; limits 3/minute (set by ana, 20" in done.text
    assert (
        await nooble("tenant", "clear", "acme", "limits", "weight")
    ).text == "cleared limits weight of acme in probe"
    assert "override" not in (await nooble("tenant", "show", "acme")).text


@pytest.mark.parametrize(
    "command",
    [
        *("tenant show", "tenant set", "tenant clear", "tenant pause", "tenant resume"),
        *("tenant register", "tenant move", "tenant unregister", "tenant drain", "resume limit"),
        *("pause tier", "pause domain", "pause type", "resume tier", "resume domain", "resume type"),
        "operations",
    ],
)
async def test_help_has_an_example(nooble: Nooble, command: str) -> None:
    done = await nooble(*command.split(), "--help")
    assert done.code == 0
    assert f"nooble {command}" in done.text
    assert "Exit codes" in done.text


@pytest.mark.parametrize("columns", [80, 120])
async def test_pause_resume_and_who_did_it(sent: BaseRedisClient, nooble: Nooble, columns: int) -> None:
    why = "an upstream that is down for the whole afternoon and says so in many words"
    assert (
        await nooble("tenant", "pause", "acme", "--by", "ana", "--why", why)
    ).text == "paused acme in probe"
    assert (
        await nooble("pause", "type", "probe.echo", "--by", "bo")
    ).text == "paused type probe.echo in probe"
    done = await nooble("operations", columns=columns)
    assert [row.split()[3] for row in done.table if row.startswith("20")] == ["bo", "ana"]
    assert "paused now in probe: tenant:acme, by ana: an upstream" in done.text
    assert max(map(len, done.out.splitlines())) <= columns
    assert (await nooble("tenant", "resume", "acme")).text == "resumed acme in probe"
    assert (await nooble("tenant", "resume", "acme")).text == "acme was not paused"
    assert (await nooble("resume", "type", "probe.echo")).text == "resumed type probe.echo in probe"
    assert (await nooble("resume", "type", "probe.echo")).text == "type probe.echo was not stopped"
    told = json.loads((await nooble("operations", "--json", "-n", "3")).out)
    assert [each["did"] for each in told["operations"]] == [
        "resume type:probe.echo",
        "resume tenant:acme",
        "pause type:probe.echo",
    ]
    assert told["paused"] == []
    assert told["operations"][0]["by"]  # the login name


@pytest.mark.parametrize("command", [["domain", DOMAIN], ["tier", "free"]])
async def test_what_is_drastic_is_asked_first(
    sent: BaseRedisClient, nooble: Nooble, command: list[str]
) -> None:
    done = await nooble("pause", *command)
    assert (done.code, done.out) == (2, "")
    assert "say --yes" in done.err
    assert (await sent.operator.paused())[DOMAIN] == []
    done = await nooble("pause", *command, "--yes", "--json")
    assert (done.code, json.loads(done.out)["domains"]) == (0, [DOMAIN])
    assert (await nooble("pause", *command, "--yes")).text.endswith("was paused already")
    assert (await nooble("resume", *command)).code == 0
    assert (await sent.operator.paused())[DOMAIN] == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tenant", "pause", "acmee"], 1, "did you mean 'acme'?"),
        (["tenant", "show", "acmee"], 1, "did you mean 'acme'?"),
        (["tenant", "set", "acme"], 2, "say what to set"),
        (["tenant", "set", "acme", "--limit", "3/minut"], 1, "limits"),
        (["tenant", "set", "acme", "--limit", "3/minute", "--no-limits"], 2, "exclude"),
        (["tenant", "clear", "acme", "wieght"], 1, "did you mean 'weight'?"),
        (["pause", "tier", "fre", "--yes"], 1, "did you mean 'free'?"),
        (["pause", "domain", "prob", "--yes"], 1, "did you mean 'probe'?"),
        (["resume", "limit", "opnai"], 1, "unknown limit 'opnai'"),
        (["tenant", "register", "acme", "fre"], 1, "did you mean 'free'?"),
        (["tenant", "register", "acme"], 2, "for which tier"),
        (["tenant", "register", "acme", "free", "--tier", "free"], 2, "say once"),
        (["tenant", "drain", "acmee"], 1, "did you mean 'acme'?"),
        (["tenant", "unregister", "acmee"], 1, "did you mean 'acme'?"),
        (["operations", "--domain", "prob"], 1, "did you mean 'probe'?"),
    ],
)
async def test_what_is_not_there(
    sent: BaseRedisClient, nooble: Nooble, arguments: list[str], code: int, told: str
) -> None:
    done = await nooble(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in " ".join(done.err.replace("│", " ").split())
    assert await sent.operator.operations() == []


async def test_which_tier_and_whether_it_takes_work(sent: BaseRedisClient, nooble: Nooble) -> None:
    await sent.bus.policies.join([DOMAIN], by="w1")
    done = await nooble("tenant", "register", "newcomer", "professional", "--why", "contract 17")
    assert done.text == "registered newcomer for professional in every domain, those to come included"
    assert "probe: registered for professional" in (await nooble("tenant", "show", "newcomer")).text
    limits = await sent.inspector.limits("newcomer", DOMAIN)
    assert limits.tier == "professional"
    handle = await sent.enqueue_action("probe.echo", tenant_id="newcomer")
    assert handle.tier == "professional"

    assert (await nooble("tenant", "drain", "newcomer", "--domain", DOMAIN)).text.startswith(
        "newcomer takes no new actions in probe"
    )
    assert "takes no new actions (drain)" in (await nooble("tenant", "show", "newcomer")).text
    with pytest.raises(NoobleError, match="drain"):
        await sent.enqueue_action("probe.echo", tenant_id="newcomer")
    assert (await nooble("tenant", "drain", "newcomer", "--end")).code == 0
    assert (await nooble("tenant", "drain", "newcomer", "--end")).text == "newcomer was not draining"
    told = json.loads((await nooble("tenant", "show", "newcomer", "--json")).out)
    assert told["domains"][0]["registration"] == {"tier": "professional", "draining": False}
    done = await nooble("tenant", "unregister", "newcomer")
    assert done.text.startswith("unregistered newcomer in every domain")
    assert (await nooble("tenant", "unregister", "newcomer")).text == "newcomer was not registered"
    did = [each.did for _, each in await sent.operator.operations()]
    assert "register newcomer professional" in did


async def test_what_is_paused_is_seen_where_one_looks_first(sent: BaseRedisClient, nooble: Nooble) -> None:
    assert "paused" not in (await nooble("status", "-1")).out
    assert "paused" not in (await nooble("tiers")).out
    await sent.operator.pause("tier:free", by="ana", why="index rebuild")
    assert "1 paused" in (await nooble("status", "-1")).out
    done = await nooble("tiers")
    assert done.text.endswith("paused now in probe: free, by ana: index rebuild")
    await sent.operator.pause("domain", by="bo")
    assert (await nooble("tiers")).text.count("by bo") == 4
    told = json.loads((await nooble("status", "--json")).out)
    assert told["domains"][0]["paused"] == 2


async def test_the_advice_of_a_refusal_is_a_command_that_works(
    redis: Redis, client: BaseRedisClient, nooble: Nooble
) -> None:
    strict = 'unregistered = "default"\ndefault_tier = "free"\n'
    strict += "[tiers.gold]\npriority = 1\n[tiers.free]\npriority = 2\n"
    await client.bus.policies.join([DOMAIN], by="w1")
    await client.bus.policies.publish(strict, by="ana", why="a test")
    with pytest.raises(NoobleError) as refused:
        await client.enqueue_action("probe.echo", tenant_id="acme", tier="gold")
    [command] = re.findall(r"`nooble ([^`]+)`", str(refused.value))
    done = await nooble(*command.split())
    assert done.code == 0, done.err
    assert (await client.enqueue_action("probe.echo", tenant_id="acme", tier="gold")).accepted


async def test_a_tenant_moves_with_what_waits_of_it(sent: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("tenant", "move", "acme", "enterprise", "--by", "ana", "--why", "contract 17")
    assert done.code == 0, done.err
    assert done.text.startswith("moved acme to enterprise, 12 waiting actions with it,")
    assert int(await sent.bus.redis.xlen("probe:acme:enterprise")) == 12
    assert not await sent.bus.redis.exists("probe:acme:free")
    assert (await sent.inspector.why("a3", DOMAIN)).tier == "enterprise"
    assert json.loads((await nooble("tenant", "move", "acme", "enterprise", "--json")).out)["moved"] == 0
    done = await nooble("tenant", "move", "acme", "enterprize")
    assert done.code == 1
    assert "did you mean 'enterprise'" in " ".join(done.err.split())
