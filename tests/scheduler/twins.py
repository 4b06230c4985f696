"""Two databases that are told the same, one by the scripts as they are and one by their long ways alone.

Whatever the engine asks of the first is asked of the second as well: replies must be alike, and all that is
stored. Ids of entries are counted instead of the server's clock, so that these can be compared, too.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from unittest import mock

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from scheduler import scripts

SHORT_WAY = re.compile(r"^repeat$.*?^until true$\n?", re.MULTILINE | re.DOTALL)
SHORT_WAY_ENDS = re.compile(r"^until true$", re.MULTILINE)
VERBS = ("enqueue", "claim", "finish")
"""Those that have a short way."""

LONGER = {
    "lib/any_finish.lua": [("if how.is_plain and not failed_before[1] then", "if false then")],
    "lib/starting.lua": [
        ("if candidate.returned == 0 and not (tier", "if false and not (tier"),
        ("if tier.by_run_time or some_type_paused or named_of_type then", "if true then"),
    ],
}
"""What the long ways have made short, for actions that are alike, and how they go without."""

OF_TEST = "of_test:"
"""What the keys of this test begin with; they are not compared."""

COUNTED_IDS = f"""
local redis = setmetatable({{}}, {{__index = redis}})
local function with_counted_id(call)
  return function(...)
    if (...) ~= 'XADD' then return call(...) end
    local args = {{...}}
    for at = 3, 6 do
      if args[at] == '*' then
        local count = (redis.get('GET', '{OF_TEST}entries') or 0) + 1
        args[at] = string.format('%d-%d', 1750000000000 + math.floor(count / 3), count % 3)
        local entry = call(unpack(args))
        if type(entry) == 'string' then redis.get('SET', '{OF_TEST}entries', count) end
        return entry
      end
    end
    return call(...)
  end
end
redis.get = redis.call
redis.pcall = with_counted_id(redis.pcall)
redis.call = with_counted_id(redis.call)
"""

ADD = COUNTED_IDS + "return redis.call('XADD', KEYS[1], '*', unpack(ARGV))"

EVERYTHING = f"""
local function sorted(pairs_of)
  local names, all = {{}}, {{}}
  for i = 1, #pairs_of, 2 do
    names[#names + 1], all[pairs_of[i]] = pairs_of[i], pairs_of[i + 1]
  end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = {{name, all[name]}} end
  return names
end
local function group_of(key)
  local group = redis.pcall('XINFO', 'GROUPS', key)
  local found = {{}}
  for _, fields in ipairs(group) do
    for i = 1, #fields, 2 do
      if fields[i] == 'name' or fields[i] == 'last-delivered-id' then found[#found + 1] = fields[i + 1] end
    end
    for _, each in ipairs(redis.call('XPENDING', key, fields[2], '-', '+', 10000)) do
      found[#found + 1] = {{each[1], each[2], each[4]}}
    end
  end
  return found
end
local read = {{
  string = function(key) return redis.call('GET', key) end,
  hash = function(key) return sorted(redis.call('HGETALL', key)) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  stream = function(key) return {{redis.call('XRANGE', key, '-', '+'), group_of(key)}} end,
  set = function(key)
    local members = redis.call('SMEMBERS', key)
    table.sort(members)
    return members
  end,
}}
local keys, all = redis.call('KEYS', '*'), {{}}
table.sort(keys)
for _, key in ipairs(keys) do
  if string.sub(key, 1, {len(OF_TEST)}) ~= '{OF_TEST}' then
    local kind = redis.call('TYPE', key).ok
    all[#all + 1] = {{key, kind, redis.call('PTTL', key), read[kind](key)}}
  end
end
return all
"""

NOTHING = ("none", -1, None)
TTL_TOLERANCE_MS = 10_000


class Variant(NamedTuple):
    """A script as it is, and by its long way alone, both with what the test needs; which verb it is."""

    verb: str
    short: str
    long: str


@cache
def variants() -> dict[str, Variant]:
    """By the SHA-1 of the shipped script."""
    read = scripts._read

    def counting(name: str) -> str:
        fell = f"until true\nredis.call('INCR', '{OF_TEST}long:{name.removesuffix('.lua')}')"
        return SHORT_WAY_ENDS.sub(fell, read(name))

    def never_short(name: str) -> str:
        text = SHORT_WAY.sub("", read(name))
        for short, long in LONGER.get(name, ()):
            assert short in text, f"{name} has changed; what does LONGER mean now?"
            text = text.replace(short, long)
        return text

    folder = files("scheduler") / "scripts"
    found = {}
    for name in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".lua")):
        verb, texts = name.removesuffix(".lua"), []
        for reader in (counting, never_short):
            with mock.patch.object(scripts, "_read", reader):
                texts.append(COUNTED_IDS + scripts.compose(verb, reader(name)).text)
        found[scripts.load(verb).sha] = Variant(verb, *texts)
    return found


class Twins(Redis):
    """A client whose commands go to both databases; what the first replies is the reply."""

    other: Any = None

    async def begin(self, other: Redis) -> None:
        """Empty both, and teach the server both kinds of scripts."""
        for redis in (self, other):
            await redis.flushdb()
        for variant in variants().values():
            await other.script_load(variant.short)
            await other.script_load(variant.long)
        self.other, self.calls = other, dict.fromkeys(VERBS, 0)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if self.other is None:
            return await self.mine(*args, **options)
        replies: list[Any] = []
        for side, run in enumerate((self.mine, self.other.execute_command)):
            try:
                replies.append(await run(*self._for(side, args), **options))
            except ResponseError as error:  # both fail, or none
                replies.append(error)
        return _the_same(args, *replies)

    async def mine(self, *args: Any, **options: Any) -> Any:
        """Ask the first alone."""
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def execute_together(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """One after the other; errors are replies."""
        return await self._one_by_one([(command, {}) for command in commands])

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """One that sends its commands one by one, to both."""
        pipeline = _OneByOne(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.twins = self
        return pipeline

    async def _one_by_one(self, commands: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> list[Any]:
        replies: list[Any] = []
        for args, options in commands:
            try:
                replies.append(await self.execute_command(*args, **options))
            except ResponseError as error:
                replies.append(error)
        return replies

    def _for(self, side: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        variant = variants().get(args[1]) if args[0] == "EVALSHA" else None
        if variant is None:
            return args
        if side == 0 and variant.verb in self.calls:
            self.calls[variant.verb] += 1
        return ("EVALSHA", _sha_of((variant.short, variant.long)[side]), *args[2:])

    async def went_short(self) -> dict[str, int]:
        """How many calls of each verb ended on its short way."""
        long = await self.mine("MGET", *[f"{OF_TEST}long:{verb}" for verb in VERBS])
        return {verb: self.calls[verb] - int(count or 0) for verb, count in zip(VERBS, long, strict=True)}

    async def check_all_is_the_same(self) -> None:
        """Every key of both databases, its type, what is in it, and whether it ends by itself."""
        first = await self.mine("EVAL", EVERYTHING, 0)
        second = await self.other.execute_command("EVAL", EVERYTHING, 0)
        mine, its = ({key: rest for key, *rest in found} for found in (first, second))
        for key in sorted({*mine, *its}):
            kind, ttl, value = mine.get(key, NOTHING)
            its_kind, its_ttl, its_value = its.get(key, NOTHING)
            assert (kind, value) == (its_kind, its_value), f"{key!r}: {value}, by the long way {its_value}"
            apart = abs(ttl - its_ttl) if (ttl < 0) == (its_ttl < 0) else math.inf
            assert apart < TTL_TOLERANCE_MS, f"{key!r} ends in {ttl}, by the long way in {its_ttl}"


class _OneByOne(Pipeline):
    twins: Twins

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self.command_stack = self.command_stack, []
        replies = await self.twins._one_by_one(commands)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies


def _sha_of(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def _one_by_one(reply: Any) -> Any:
    """Of a claim: what it tells in runs, see claim.lua."""
    if not isinstance(reply, list) or reply[:1] != [b"ok"] or len(reply) < 6:
        return reply
    single, at = reply[:5], 5
    while at < len(reply):
        run, _, count = reply[at].rpartition(b" ")
        for told in range(at + 1, at + 1 + 2 * int(count), 2):
            single += [run, *reply[told : told + 2]]
        at += 1 + 2 * int(count)
    return single


def _the_same(args: tuple[Any, ...], first: Any, second: Any) -> Any:
    mine, its = (
        str(reply) if isinstance(reply, Exception) else _one_by_one(reply) for reply in (first, second)
    )
    if mine != its and [mine] != its:  # of one action without a list, see enqueue.lua
        told = [f"{args[0]} {args[1:]}", f"replies {mine!r}", f"by the long way {its!r}"]
        raise AssertionError("\n".join(told))
    if isinstance(first, Exception):
        raise first
    return first
