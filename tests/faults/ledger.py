"""The ledger of a fault test: what was accepted, what became of it, and whether that is what is promised.

It follows the event stream while faults happen, and looks at the server when everything has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from nooble_tasks import (
    BaseRedisClient,
    CommonAppSettings,
    DomainAction,
    NotReplicated,
    QueueUnavailable,
    RedisManager,
)
from nooble_tasks._engine import DeadLetters, LetterFilter, Policy, inspection, maintenance
from tests.faults.workshop import DOMAIN, POLICY, RUNS

PATIENCE_S = 120.0
_AT_ONCE = 200
_LOOK_EVERY_S = 0.05
_FOLLOW_EVERY_S = 0.2
SLACK_MS = 50
"""Events tell when the answer to a claim was read, and when an outcome was about to be sent, by the workers'
clocks: so much may be between that and what the server did."""

AGAIN = ("retry", "snoozed")
"""Outcomes of an attempt after which the action lives on."""


class Ledger:
    """Sends actions and keeps the books. ``unsure``: sent, but whether it was accepted is not known."""

    def __init__(self, client: BaseRedisClient, redis: Any) -> None:
        self.client = client
        self.redis = redis
        self.accepted: list[str] = []
        self.unsure: list[str] = []
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.attempts: list[inspection.OutcomeEvent] = []
        self.claimed_ms: dict[str, int] = {}
        self._runs: Counter[str] = Counter()
        self._ended: set[str] = set()
        self._open: set[str] = set()
        self._looked_at, self._looked_to = self.accepted, 0
        self._last_event = "0-0"
        self._reading = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str, direct_url: str = "", **more: Any) -> AsyncIterator[Ledger]:
        """A ledger whose client uses ``url``, with ``more`` settings; what it checks it reads from
        ``direct_url``."""
        settings = CommonAppSettings(service_name="ledger_service", redis_url=url, result_ttl_s=3_600, **more)
        direct = redis_asyncio.Redis.from_url(direct_url or url, protocol=2, retry=Retry(NoBackoff(), 0))
        async with RedisManager(settings) as manager:
            client = BaseRedisClient("ledger_service", manager.get_client(), settings)
            client.bus.engine.policy = Policy.parse(POLICY)
            try:
                yield cls(client, direct)
            finally:
                await client.close()
                await direct.aclose()

    async def send(
        self, many: int, *, verb: str = "work", tier: str = "open", tenants: int = 10, **data: Any
    ) -> None:
        """Enqueue ``many`` actions of so many ``tenants`` in turn."""
        first = len(self.accepted) + len(self.unsure)
        actions = [
            DomainAction(
                action_type=f"{DOMAIN}.{verb}",
                tenant_id=f"tenant-{number % tenants}",
                tenant_tier=tier,
                data={"number": number, **data},
            )
            for number in range(first, first + many)
        ]
        for start in range(0, many, _AT_ONCE):
            chunk = actions[start : start + _AT_ONCE]
            ids = [action.action_id for action in chunk]
            try:
                await self.client.enqueue_actions(chunk)
                self.accepted += ids
            except (QueueUnavailable, NotReplicated):
                self.unsure += ids

    async def send_later(self, delay_s: float) -> None:
        """Enqueue one action that is due later."""
        number = len(self.accepted)
        handle = await self.client.enqueue_action(
            f"{DOMAIN}.work",
            {"number": number},
            tenant_id=f"tenant-{number % 10}",
            tier="open",
            delay=delay_s,
        )
        self.accepted.append(handle.action_id)

    async def follow(self) -> None:
        """Read what is new in the event stream. It is bounded: who does not follow misses something."""
        async with self._reading:
            while True:
                events, last = await inspection.recent_events(
                    self.client.bus.engine, DOMAIN, self._last_event, count=500
                )
                for event in events:
                    if isinstance(event, inspection.OutcomeEvent):
                        self._note(event)
                if last == self._last_event:
                    return
                self._last_event = last

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow all the time, however long what is done meanwhile takes."""

        async def follow() -> None:
            while True:
                with contextlib.suppress(RedisError, OSError):  # the server may be what is being broken
                    await self.follow()
                await asyncio.sleep(_FOLLOW_EVERY_S)

        task = asyncio.create_task(follow())
        try:
            yield
        finally:
            await maintenance.end_task(task)

    async def ended(self) -> int:
        """How many of the accepted actions have an outcome for good."""
        await self.follow()
        if self._looked_at is not self.accepted:
            self._looked_at, self._looked_to = self.accepted, 0
            self._open.clear()
        new, self._looked_to = self.accepted[self._looked_to :], len(self.accepted)
        self._open.update(action_id for action_id in new if action_id not in self._ended)
        return len(self.accepted) - len(self._open)

    def have_ended(self, action_ids: Iterable[str]) -> bool:
        """Whether all of them have, as far as this ledger has followed."""
        return self._ended.issuperset(action_ids)

    def _note(self, event: inspection.OutcomeEvent) -> None:
        self.outcomes[event.action_id, event.outcome] += 1
        if event.outcome not in AGAIN:
            self._ended.add(event.action_id)
            self._open.discard(event.action_id)
        if event.claimed_ms:
            self.claimed_ms[event.action_id] = event.claimed_ms
            if event.tier != "open":  # in which nothing is limited
                self.attempts.append(event)

    async def until_ended(self, many: int | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Wait until so many of the accepted have ended; None: all of them."""
        wanted = len(self.accepted) if many is None else many
        ended = -1
        deadline = asyncio.get_running_loop().time() + patience_s
        while ended < wanted:
            try:
                now_ended = await self.ended()
            except (RedisError, OSError):
                now_ended = ended  # the server may be what is being broken
            if now_ended > ended:  # patience is with those that get on
                ended, deadline = now_ended, asyncio.get_running_loop().time() + patience_s
            assert asyncio.get_running_loop().time() < deadline, await self._complaint(ended, wanted)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def until_registered(self, pid: int) -> None:
        """Wait until the worker in that process is there: before, nobody hears a signal."""
        workers = self.client.bus.keys.of("workers", DOMAIN)
        async with asyncio.timeout(PATIENCE_S):
            while not any(  # noqa: ASYNC110
                b"-%d." % pid in worker for worker in await self.redis.zrange(workers, 0, -1)
            ):
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _complaint(self, ended: int, wanted: int) -> str:
        missing = [action_id for action_id in self.accepted if action_id not in self._ended][:3]
        runs = [self._runs[each] or int(await self.redis.hget(RUNS, each) or 0) for each in missing]
        states = [await inspection.state_of(self.client.bus.engine, DOMAIN, each) for each in missing]
        keys = sorted(key.decode() for key in await self.redis.keys("*") if b":resp:" not in key)[:60]
        found = list(zip(missing, states, runs, strict=True))
        return f"{ended} of {wanted} ended; id, state and runs of some others: {found}; keys: {keys}"

    # -- what is promised ---------------------------------------------------------------------------------

    async def check(
        self, *, extra_runs: int | None = None, completed_only: bool = True, answered: bool = True
    ) -> None:
        """Every promise at once. ``extra_runs``: how many runs beyond one per action are explained;
        ``answered``: somebody asked for the answers."""
        await self.until_ended()
        if completed_only:
            await self.check_no_letters()
        self.check_outcomes(completed_only)
        if answered:
            await self.check_responses()
        await self.check_runs(extra_runs)
        self.check_limits()
        await self.check_nothing_is_left()

    async def check_no_letters(self) -> None:
        """Nothing was given up."""
        letters = DeadLetters(self.client.bus.engine)
        async for page in letters.pages(DOMAIN, LetterFilter()):
            opened = await letters.open(DOMAIN, page[0].tenant_id, page[0].letter_id)
            raise AssertionError(f"{len(page)} or more dead letters, the newest: {opened}")

    def check_outcomes(self, completed_only: bool = True) -> None:
        """Exactly one accepted outcome for good of every action, and of nothing else."""
        terminal = Counter[str]()
        for (action_id, outcome), times in self.outcomes.items():
            if outcome not in AGAIN:
                terminal[action_id] += times
                assert outcome == "completed" or not completed_only, f"{action_id} is {outcome}"
        twice = [action_id for action_id, times in terminal.items() if times > 1]
        assert not twice, f"finished more than once: {twice[:5]}"
        lost = [action_id for action_id in self.accepted if action_id not in terminal]
        assert not lost, f"{len(lost)} lost: {lost[:5]}"
        strangers = terminal.keys() - set(self.accepted) - set(self.unsure)
        assert not strangers, f"nobody sent {list(strangers)[:5]}"

    async def check_responses(self) -> None:
        """Exactly one response each."""
        for chunk in _chunks(self.accepted):
            pipeline = self.redis.pipeline(transaction=False)
            for action_id in chunk:
                pipeline.llen(self.client.bus.keys.response(DOMAIN, action_id))
            counts = Counter(await pipeline.execute())
            assert counts == {1: len(chunk)}, f"responses per action: {counts}"

    async def check_runs(self, extra_runs: int | None) -> None:
        """Everything ran, and no more often than explained."""
        await self.put_runs_away()
        runs = self._runs
        assert not set(self.accepted) - runs.keys(), "completed without a run"
        extra = sum(runs.values()) - len(runs)
        assert extra_runs is None or extra <= extra_runs, f"{extra} extra runs, {extra_runs} explained"

    async def put_runs_away(self) -> None:
        """Out of the server into this book; nothing runs meanwhile."""
        self._runs.update(
            {key.decode(): int(times) for key, times in (await self.redis.hgetall(RUNS)).items()}
        )
        await self.redis.delete(RUNS)

    def check_limits(self) -> None:
        """No rate was exceeded. (`running.py` looks at what runs at once.)"""
        self._check_rate("narrow", 40, 1_000)

    def _check_rate(self, tier: str, most: int, window_ms: int) -> None:
        """No window of a tenant holds more starts than allowed."""
        by_tenant: dict[str, list[int]] = {}
        for each in self.attempts:
            if each.tier == tier:
                by_tenant.setdefault(each.tenant_id, []).append(each.claimed_ms)
        for tenant, starts in by_tenant.items():
            starts.sort()
            for first, last in zip(starts, starts[most:], strict=False):
                assert last - first >= window_ms - SLACK_MS, f"{tenant}: {most + 1} in {last - first} ms"

    async def check_nothing_is_left(self) -> None:
        """No stream, no owner, no line: only what expires or is kept by design."""
        kept = ("policy", "fairness", "counters", "events", "done:", "workers", "sleepers", "usage", "dead",
                "resp:", "notify:", "mailbox:", "tags:", "worker_info", "registry", "operations",
                "latest_time")  # fmt: skip
        root = self.client.bus.keys.root(DOMAIN) + ":"
        left = [
            key.decode()
            for key in await self.redis.keys("*")
            if key.startswith((root.encode(), f"{DOMAIN}:".encode()))
            and not key.decode().removeprefix(root).startswith(kept)
        ]
        assert not left, f"left behind: {sorted(left)[:20]}"


def _chunks(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + 1_000] for start in range(0, len(ids), 1_000)]
