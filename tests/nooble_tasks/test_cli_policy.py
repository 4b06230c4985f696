"""`nooble policy`: check, show, history, dry run, publish, rollback; tables, JSON, exit codes."""

from __future__ import annotations

import getpass
import io
import json
from pathlib import Path

import pytest
import typer
from redis.asyncio import Redis

from nooble_tasks import Bus, PolicyStore
from nooble_tasks.cli import policy as module
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action, make_client, settings_for

FIRST = """default_tier = "free"
[tiers.gold]
priority = 1
[tiers.free]
priority = 2
limits = ["2/minute"]
"""
SECOND = FIRST.replace("2/minute", "5/minute") + '[domains]\nprobbe = ["9/second"]\n'


@pytest.fixture
async def store(redis: Redis) -> PolicyStore:
    """Version 1 is in force; `busy` has used its limit of 2 and waits."""
    bus = Bus(redis, settings_for())
    await bus.ready()
    Bus.use(redis, bus)
    await bus.policies.publish(FIRST, by="ana", why="the beginning")
    await bus.policies.join([DOMAIN], by="worker w1")
    client = make_client(redis)
    await client.enqueue_actions([action(tenant_id="busy", tenant_tier="free") for _ in range(4)])
    await bus.engine.extend(DOMAIN, "w1", register=True)
    assert len((await bus.engine.claim(DOMAIN, "w1", 10)).actions) == 2
    await client.close()
    return bus.policies


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiers.toml"
    path.write_text(SECOND)
    return path


def _write(file: Path, text: str) -> None:
    file.write_text(text)


async def test_check_needs_no_server(nooble: Nooble, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOOBLE_REDIS_URL", "redis://127.0.0.1:1")
    done = await nooble("policy", "check", str(file))
    assert (done.code, done.out) == (0, f"{file} can be published: gold, free\n")
    _write(file, FIRST.replace("priority = 2", "priority = 1") + "wieght = 2\n")
    done = await nooble("policy", "check", str(file))
    assert (done.code, done.out) == (1, "")
    assert f"{file}: unknown key 'tiers.free.wieght', did you mean 'weight'?" in done.err
    done = await nooble("policy", "check", str(file), "--json")
    assert (done.code, json.loads(done.out)["valid"]) == (1, False)


@pytest.mark.parametrize("columns", [80, 120])
async def test_diff_fits(store: PolicyStore, nooble: Nooble, file: Path, columns: int) -> None:
    done = await nooble("policy", "diff", str(file), columns=columns)
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= columns
    assert [row.split() for row in done.table] == [
        ["domain", "probbe", "limits", "–", "9/second"],
        ["tier", "free", "limits", "2/minute", "5/minute"],
    ]
    assert "In place of version 1" in done.out
    assert "probe free 1 start again: busy" in done.text
    assert (
        f"No worker ever served the domain 'probbe', which has rules here; did you mean {DOMAIN!r}?"
        in done.text
    )


async def test_diff_for_machines(store: PolicyStore, nooble: Nooble, file: Path) -> None:
    done = await nooble("policy", "diff", str(file), "--json")
    told = json.loads(done.out)
    assert told["changes"][1] == {
        "domain": "",
        "tier": "free",
        "key": "limits",
        "before": ["2/minute"],
        "after": ["5/minute"],
    }
    [effect] = told["effects"]
    assert effect["start_again"] == {"total": 1, "some": ["busy"]}
    assert (told["version"], told["refused"], told["unserved"]) == (1, False, ["probbe"])
    assert (await nooble("policy", "diff", "1")).text == "It says the same as version 1."


async def test_what_would_be_refused(store: PolicyStore, nooble: Nooble, file: Path) -> None:
    _write(file, 'default_tier = "gold"\n[tiers.gold]\npriority = 1\n')
    done = await nooble("policy", "diff", str(file))
    assert done.code == 1
    assert (
        "Refused: probe: tier free has 1 tenant (2 waiting, 0 scheduled, 2 running, 0 registered): busy"
        in done.text
    )
    for option in (["--force"], ["--expect", "1"]):
        done = await nooble("policy", "publish", str(file), "--why", "x", *option)
        assert (done.code, done.out) == (1, "")
        assert "a tier can only go when it is empty" in done.err
    assert len(await store.history()) == 1


async def test_who_is_in_a_tier_that_goes_is_moved(store: PolicyStore, nooble: Nooble, file: Path) -> None:
    _write(file, 'default_tier = "gold"\n[tiers.gold]\npriority = 1\n')
    for wrong in ("free", "free="):
        done = await nooble("policy", "diff", str(file), "--move", wrong)
        assert (done.code, "'free' is not OLD=NEW" in done.err) == (2, True)
    done = await nooble("policy", "diff", str(file), "--move", "free=golf")
    assert (done.code, "no tier 'golf', did you mean 'gold'?" in done.err) == (1, True)
    done = await nooble("policy", "diff", str(file), "--move", "free=gold")
    assert done.code == 0
    assert "Moves to tier gold: probe: tier free has 1 tenant (2 waiting, 0 scheduled, 2 running" in done.text
    told = json.loads((await nooble("policy", "diff", str(file), "--move", "free=gold", "--json")).out)
    assert [(each["tier"], each["to"], each["waiting"]) for each in told["moved"]] == [("free", "gold", 2)]
    options = ["--why", "x", "--expect", "1", "--move", "free=gold"]
    done = await nooble("policy", "publish", str(file), *options)
    assert (done.code, done.out) == (0, f"version 2 is in force in {DOMAIN}\n")
    found = await store.dry_run(FIRST)
    assert found.diff.added == ["free"]


async def test_publish_and_go_back(store: PolicyStore, nooble: Nooble, file: Path) -> None:
    done = await nooble("policy", "publish", str(file), "--why", "more for free", "--expect", "1")
    assert (done.code, done.out) == (0, f"version 2 is in force in {DOMAIN}\n")
    [newest, _] = await store.history()
    assert (newest.text, newest.by, newest.why) == (SECOND, getpass.getuser(), "more for free")
    again = await nooble("policy", "publish", str(file), "--why", "twice")
    assert again.out == f"version 2 has this text already and stays in force in {DOMAIN}\n"
    late = await nooble("policy", "rollback", "1", "--expect", "1")
    assert (late.code, late.out) == (1, "")
    assert "is version 2 by" in late.err
    back = await nooble("policy", "rollback", "1", "--expect", "2", "--by", "bob", "--json")
    told = json.loads(back.out)
    assert {key: told[key] for key in ("version", "by", "why", "new", "domains")} == {
        "version": 3,
        "by": "bob",
        "why": "back to version 1",
        "new": True,
        "domains": [DOMAIN],
    }


async def test_who_has_not_seen_what_is_in_force_is_asked_to_look(
    store: PolicyStore, nooble: Nooble, file: Path
) -> None:
    for command in (["publish", str(file), "--why", "x"], ["rollback", "1"]):
        if command[0] == "rollback":
            await store.publish(SECOND, by="ana", why="another")
            assert (await nooble("policy", "publish", str(file), "--why", "the same")).code == 0
        done = await nooble("policy", *command)
        assert (done.code, done.out) == (2, "")
        assert "--expect" in done.err
        assert "--force" in done.err
    assert (await nooble("policy", "rollback", "1", "--force")).code == 0


@pytest.mark.parametrize("answer", [True, False])
async def test_on_a_terminal_it_shows_and_asks(
    store: PolicyStore, nooble: Nooble, file: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        if not answer:
            raise typer.Abort
        return True

    monkeypatch.setattr(module, "somebody_looks", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    done = await nooble("policy", "publish", str(file), "--why", "x")
    assert asked == ["Replace version 1?"]
    assert "start again: busy" in done.text
    assert done.code == (0 if answer else 130)
    assert len(await store.history()) == (2 if answer else 1)
    asked.clear()
    _write(file, 'default_tier = "gold"\n[tiers.gold]\npriority = 1\n')
    assert (await nooble("policy", "publish", str(file), "--why", "x")).code == 1
    assert not asked, "what would be refused is not asked for"


async def test_the_first_one_needs_no_look(nooble: Nooble, file: Path) -> None:
    none = await nooble("policy", "show")
    assert (none.code, none.out) == (1, "")
    assert "nothing was published yet" in none.err
    assert "nothing was published yet" in (await nooble("policy", "history")).err
    done = await nooble("policy", "publish", str(file), "--why", "x")
    assert done.out == "version 1 is in force in no domain yet: no worker has joined\n"


async def test_show_gives_the_text_and_nothing_else(
    store: PolicyStore, nooble: Nooble, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await nooble("policy", "show")
    assert done.out == FIRST
    assert "by ana: the beginning" in done.err
    assert json.loads((await nooble("policy", "show", "1", "--json")).out)["text"] == FIRST
    missing = await nooble("policy", "show", "7")
    assert (missing.code, missing.out) == (1, "")
    assert "no version 7; did you mean 1?" in missing.err
    monkeypatch.setattr("sys.stdin", io.StringIO(SECOND))
    edited = await nooble("policy", "publish", "-", "--why", "edited", "--expect", "1")
    assert edited.code == 0
    assert (await nooble("policy", "show")).out == SECOND


@pytest.mark.parametrize("columns", [80, 120])
async def test_history(store: PolicyStore, nooble: Nooble, columns: int) -> None:
    await store.publish(SECOND, by="bob", why="so that free tenants wait less, " * 5)
    done = await nooble("policy", "history", columns=columns)
    assert max(map(len, done.out.splitlines())) <= columns
    assert [row.split()[0] for row in done.table if row[0] != " "] == ["2", "1"]
    told = json.loads((await nooble("policy", "history", "--limit", "1", "--json")).out)
    [newest] = told["versions"]
    assert (newest["version"], newest["by"]) == (2, "bob")
    assert "text" not in newest


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check", "none.toml"], "none.toml: cannot be read: No such file"),
        (["publish", "none.toml", "--why", "x"], "none.toml: cannot be read"),
        (["publish", "FILE"], "--why"),
        (["publish", "FILE", "--why", " ", "--force"], "why must be 1 to 1000 printable characters"),
        (["rollback", "x"], "valid integer"),
        (["diff", "99"], "no version 99"),
    ],
)
async def test_wrong_usage(
    store: PolicyStore, nooble: Nooble, file: Path, arguments: list[str], told: str
) -> None:
    done = await nooble("policy", *(str(file) if each == "FILE" else each for each in arguments))
    assert done.code in (1, 2)
    assert done.out == ""
    assert told in " ".join(done.err.split())


@pytest.mark.parametrize("command", ["check", "show", "history", "diff", "publish", "rollback"])
async def test_help_has_an_example(nooble: Nooble, command: str) -> None:
    done = await nooble("policy", command, "--help")
    assert done.code == 0
    assert f"nooble policy {command}" in done.out.split("Usage", 1)[1].split("\n", 1)[1]
    assert "Exit codes" in done.out
