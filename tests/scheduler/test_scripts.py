"""The script loader: headers are executed, includes are composed, a forgotten script is sent again."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from scheduler import ScriptError, scripts
from scheduler.lean import lean
from scheduler.scripts import compose, load
from tests.scheduler.world import World, new, some

FOLDER = Path(scripts.__file__).parent / "scripts"
ALL = sorted(path.stem for path in FOLDER.glob("*.lua"))


@pytest.mark.parametrize("verb", ALL)
async def test_every_script_compiles(redis: Redis, verb: str) -> None:
    script = load(verb)
    assert (await redis.script_load(script.text)) == script.sha


@pytest.mark.parametrize("verb", ALL)
def test_every_script_states_its_contract(verb: str) -> None:
    header = (FOLDER / f"{verb}.lua").read_text().split("\n\n")[0]
    assert header.startswith(f"-- {verb}: ")
    for part in ("-- @keys ", "-- @argv ", "-- REPLY: "):
        assert part in header


def test_every_verb_has_a_script() -> None:
    others = {
        "retire",
        "publish",
        "describe",
        "pass_on",
        *scripts.LOOKS,
        *scripts.ON_LETTERS,
        *scripts.ON_SCHEDULES,
        *scripts.ON_CHILDREN,
        *scripts.ON_CLOCKS,
        *scripts.OPERATIONS,
    }
    assert set(scripts.VERBS) | others == set(ALL)


def test_no_script_asks_for_the_time_or_builds_a_name_of_a_key_by_hand() -> None:
    for path in FOLDER.rglob("*.lua"):
        text = path.read_text()
        assert "'TIME'" not in text, path.name
        assert "KEYS[1] .." not in text, path.name


def test_keys_and_arguments_are_bound_by_the_header() -> None:
    body = "return {waiting_key, ready_prefix, now_ms, name, items_at}"
    script = compose("x", f"-- @keys waiting ready\n-- @argv now_ms:int name:str items:rest\n{body}\n")
    assert script.text.splitlines() == [
        "local waiting_key = KEYS[1] .. ':waiting'",
        "local ready_prefix = KEYS[1] .. ':ready:'",
        "local now_ms = tonumber(ARGV[1])",
        "local name = ARGV[2]",
        "local items_at = 3",
        body,
    ]
    assert script.argv == ("now_ms", "name", "items")


def test_includes_come_first_and_once() -> None:
    body = "add_waiting({}, {})\nput_back({})"
    text = compose("x", f"-- @include returned\n-- @include waiting\n-- @include stream\n{body}").text
    assert text.count("local function split_stream") == 1
    assert (
        text.index("split_stream(stream)")
        < text.index("add_waiting(streams, added)")
        < text.index("put_back(")
    )
    assert text.endswith(body)


def test_what_nothing_leads_to_is_not_sent() -> None:
    text = compose("x", "-- @include waiting\nreturn split_stream('a:b')").text
    assert "local function split_stream(stream)" in text
    assert "add_waiting" not in text
    assert "_key" not in text


def test_what_only_a_function_without_callers_uses_is_not_sent_either() -> None:
    texts = ("local A = 1", "local B = 2", "local function unused()", "  return A", "end", "return B")
    assert lean("\n".join(texts)).splitlines() == ["local B = 2", "return B"]


def test_what_a_deferred_part_defines_itself_it_does_not_need_from_outside() -> None:
    f, g = "local function f() return 1 end", "local function g() return 2 end"
    rest = (
        "local function rest()",
        " local a = g()",
        " local function f() return a end",
        " return f()",
        "end",
    )
    kept = lean("\n".join((f, g, *rest, "return rest()"))).splitlines()
    assert kept == [g, *rest, "return rest()"]


def test_what_a_deferred_part_uses_before_it_defines_it_is_sent() -> None:
    f = "local function f() return 1 end"
    rest = (
        "local function rest()",
        " local a = f()",
        " local function f() return a end",
        " return f()",
        "end",
    )
    assert f in lean("\n".join((f, *rest, "return rest()"))).splitlines()


def test_a_statement_stays_and_so_does_what_it_uses() -> None:
    text = "local T = {}\nlocal function f() return 1 end\nT.f = f\nlocal function g()\n  f()\nend\nreturn 1"
    assert lean(text).splitlines() == [
        "local T = {}",
        "local function f() return 1 end",
        "T.f = f",
        "return 1",
    ]


async def test_a_deferred_part_is_made_when_it_is_called(redis: Redis) -> None:
    text = "-- @include stream\n-- @defer place count_between\nreturn try == nil or place() ~= nil"
    script = compose("x", text)
    assert script.text.index("local function try") < script.text.index("local function place()")
    assert "\n return count_between\nend" in script.text
    assert await scripts.run(redis, script, "a:b", []) == 1


async def test_the_long_way_stands_behind_the_short_one(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "-- @keys held waiting\n-- @include stream\nreturn try('GET', waiting_key) or 'long'"
    read = scripts._read
    monkeypatch.setattr(scripts, "_read", lambda name: long if name == "lib/long.lua" else read(name))
    short = "if try('GET', held_key) then return 'short' end"
    script = compose("x", f"-- @keys held\n-- @include stream\n-- @then long\n{short}")
    lines = script.text.splitlines()
    at = [lines.index(line) for line in (short, "local waiting_key = KEYS[1] .. ':waiting'")]
    assert lines.index("local function try(...)") < at[0] < at[1]
    assert lines.count("local function try(...)") == 1
    assert await scripts.run(redis, script, "a:b", []) == b"long"
    await redis.set("a:b:held", "1")
    assert await scripts.run(redis, script, "a:b", []) == b"short"


def test_comments_are_not_sent() -> None:
    assert not [line for verb in ALL for line in load(verb).text.splitlines() if line.startswith("--")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("-- @keys reddy", "no key named 'reddy'"),
        ("-- @include limmits", "lib/limmits.lua, which does not exist"),
        ("-- @argv now_ms", "'now_ms' needs a type: int, str or rest"),
        ("-- @argv now_ms:float", "'now_ms:float' needs a type"),
    ],
)
def test_a_header_that_cannot_be_bound(body: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"x\.lua") as error:
        compose("x", body)
    assert words in str(error.value)


def test_circular_includes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"lib/a.lua": "-- @include b", "lib/b.lua": "-- @include a"}
    monkeypatch.setattr(scripts, "_read", texts.__getitem__)
    with pytest.raises(ValueError, match=r"circular include: x\.lua → lib/a\.lua → lib/b\.lua → lib/a\.lua"):
        compose("x", "-- @include a")


async def test_a_server_that_forgot_the_scripts(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.redis.script_flush()
    assert await world.claim_ids() == ["x1"]
    assert await world.redis.script_exists(load("claim").sha) == [True]


async def test_forgotten_in_the_middle_of_calls_that_go_together(world: World) -> None:
    await world.redis.script_flush()
    actions = some(1_100)
    said = await world.enqueue(*actions)
    assert all(each.accepted for each in said)
    assert await world.claim_ids(slots=500) == [action.action_id for action in actions[:500]]
    claim = await world.claim(slots=10)
    await world.redis.script_flush()
    accepted, claim = await world.engine.finish_and_claim(world.domain, "w1", [], 5)
    assert (accepted, len(claim.actions)) == ([], 5)


async def test_a_script_that_fails_says_which_verb(redis: Redis) -> None:
    broken = compose("broken", "-- @argv x:str\nreturn nothing.at_all")
    for _ in range(2):  # sent as text, then by its SHA-1
        with pytest.raises(ScriptError, match=r"^broken: "):
            await scripts.run(redis, broken, "a:b", ["x"])
    with pytest.raises(ScriptError, match=r"^broken: "):
        await scripts.run_together(redis, [(broken, "a:b", ["x"]), (broken, "a:b", ["x"])])


async def test_what_the_server_says_of_itself_keeps_its_type(world: World) -> None:
    await world.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError) as error:
            await world.enqueue(new("x1"))
        assert not isinstance(error.value, ScriptError)
    finally:
        await world.redis.config_set("maxmemory", 0)
