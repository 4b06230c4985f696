"""One domain on a real server with a clock by hand, and a picture of everything stored for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from scheduler import Claim, Claimed, Engine, Enqueued, Finish, Keys, ManualClock, NewAction, Outcome, Policy

DOMAIN = "embedding"
NOW = 1_750_000_000_000
MINUTE = 60_000
DAY = 86_400_000

TIERS = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.professional]
priority = 2
guaranteed_share = 0.10
limits = ["200/minute"]
[tiers.free]
priority = 3
guaranteed_share = 0.05
limits = ["3/minute", "5/day"]
[tiers.solo]
priority = 4
max_concurrency = 1
"""


def new(action_id: str, tenant: str = "acme", tier: str = "enterprise", **more: Any) -> NewAction:
    """An action whose payload says its id."""
    return NewAction(
        action_id, "embedding.generate", tenant, tier, b'{"id":"%s"}' % action_id.encode(), **more
    )


def some(count: int, tenant: str = "acme", tier: str = "enterprise", **more: Any) -> list[NewAction]:
    """``acme-0``, ``acme-1`` …"""
    return [new(f"{tenant}-{n}", tenant, tier, **more) for n in range(count)]


class World:
    """Engine, clock and short forms of the verbs for one domain."""

    def __init__(
        self, redis: Any, policy: str | Policy = TIERS, *, domain: str = DOMAIN, cluster: bool = False
    ) -> None:
        self.redis = redis
        self.domain = domain
        self.keys = Keys(cluster=cluster)
        self.clock = ManualClock(NOW)
        self.policy = Policy.parse(policy) if isinstance(policy, str) else policy
        self.engine = Engine(redis, policy=self.policy, clock=self.clock, keys=self.keys)

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    async def worker(self, *names: str) -> None:
        for name in names:
            await self.engine.extend(self.domain, name, register=True)

    async def enqueue(self, *actions: NewAction) -> list[Enqueued]:
        return await self.engine.enqueue(self.domain, actions)

    async def claim(self, worker: str = "w1", slots: int = 10) -> Claim:
        return await self.engine.claim(self.domain, worker, slots)

    async def claim_ids(self, worker: str = "w1", slots: int = 10) -> list[str]:
        return ids((await self.claim(worker, slots)).actions)

    async def finish(
        self, *actions: Claimed, worker: str = "w1", outcome: Outcome = Outcome.COMPLETED, **more: Any
    ) -> list[bool]:
        finishes = [Finish(action, outcome, **more) for action in actions]
        return await self.engine.finish(self.domain, worker, finishes)

    async def cancel(self, *action_ids: str, response: bytes = b"cancelled") -> list[str]:
        return await self.engine.cancel(self.domain, [(action_id, response) for action_id in action_ids])

    def key(self, name: str, *parts: str) -> str:
        return self.keys.of(name, self.domain, *parts)

    def stream(self, tenant: str = "acme", tier: str = "enterprise") -> str:
        return self.keys.stream(self.domain, tenant, tier)

    async def snapshot(self) -> dict[str, Any]:
        return await snapshot(self.redis, self.domain, self.keys)

    async def mailbox(self, worker: str) -> list[str]:
        return [text.decode() for text in await self.redis.lrange(self.key("mailbox", worker), 0, -1)]

    async def unfinished(self) -> dict[str, Any]:
        """The snapshot without what is kept for good: nothing may be in it once all work has ended."""
        of_engine = ("policy", "registry", "fairness", "counters", "events", "operations", "workers")
        kept = (*of_engine, "sleepers", "done:", "usage", "dead", "zone_periods")
        return {name: value for name, value in (await self.snapshot()).items() if not name.startswith(kept)}


def ids(actions: Iterable[Claimed]) -> list[str]:
    return [action.action_id for action in actions]


async def snapshot(redis: Any, domain: str = DOMAIN, keys: Keys | None = None) -> dict[str, Any]:
    """Every key of the domain as plain data: engine keys by what follows the root, streams by tenant:tier.

    Of a work stream: its actions' ids, and per consumer of the group what is delivered, how often. Entry ids
    are the server's clock, so they are left out.
    """
    keys = keys or Keys()
    names = sorted(key.decode() for key in await redis.keys())
    types = await _all(redis, [("TYPE", name) for name in names])
    commands = [_READ[kind.decode()](name) for name, kind in zip(names, types, strict=True)]
    values = await _all(redis, commands)
    groups = {name for name, kind in zip(names, types, strict=True) if kind == b"stream"}
    delivered = dict(
        zip(
            sorted(groups),
            await _all(redis, [("XPENDING", name, "workers", "-", "+", 10_000) for name in sorted(groups)]),
            strict=True,
        )
    )
    picture: dict[str, Any] = {}
    for name, kind, value in zip(names, types, values, strict=True):
        plain = _stream(value, delivered[name]) if kind == b"stream" else _plain(kind.decode(), value)
        for prefix, label in ((keys.root(domain) + ":", ""), (keys.tag(domain) + ":", "stream ")):
            if name.startswith(prefix):
                picture[label + name.removeprefix(prefix)] = plain
                break
    return _without_entry_ids(picture)


_ENTRY = re.compile(r"\b\d{13}-\d+\b")


def _without_entry_ids(picture: dict[str, Any]) -> dict[str, Any]:
    """Entry ids are the server's clock: ``@`` instead; ``returned`` becomes how many."""
    for name, value in picture.items():
        if name == "actions" or name.startswith("owned:"):
            picture[name] = {key: _ENTRY.sub("@", text) for key, text in value.items()}
        elif name.startswith("set_aside:"):
            picture[name] = {_ENTRY.sub("@", key): score for key, score in value.items()}
        elif name.startswith("returned:"):
            picture[name] = len(value)
    return picture


_READ: dict[str, Any] = {
    "string": lambda name: ("GET", name),
    "hash": lambda name: ("HGETALL", name),
    "zset": lambda name: ("ZRANGE", name, 0, -1, "WITHSCORES"),
    "set": lambda name: ("SMEMBERS", name),
    "list": lambda name: ("LRANGE", name, 0, -1),
    "stream": lambda name: ("XRANGE", name, "-", "+"),
}


async def _all(redis: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    pipeline.response_callbacks = {}  # the replies as the server gives them
    return await pipeline.execute(raise_on_error=False)


def _plain(kind: str, value: Any) -> Any:
    if kind == "string":
        return _text(value)
    texts = [_text(item) for item in value]
    if kind == "set":
        return set(texts)
    if kind == "list":
        return texts
    pairs = dict(zip(texts[::2], texts[1::2], strict=True))
    return pairs if kind == "hash" else {name: float(score) for name, score in pairs.items()}


def _stream(entries: list[Any], delivered: Any) -> Any:
    fields = {entry: dict(zip(flat[::2], flat[1::2], strict=True)) for entry, flat in entries}
    if isinstance(delivered, Exception):  # no group: not a work stream
        return [{_text(name): _text(value) for name, value in item.items()} for item in fields.values()]
    names = {entry: _text(item.get(b"head", b"? ?")).split(" ")[1] for entry, item in fields.items()}
    picture: dict[str, Any] = {"entries": list(names.values())}
    for entry, consumer, _, deliveries in delivered:
        picture.setdefault(_text(consumer), {})[names.get(entry, "deleted")] = deliveries
    return picture


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is different in ``after``; None for what has gone."""
    names: Sequence[str] = sorted({*before, *after})
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
