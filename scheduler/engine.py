"""The verbs of the queue: one method, one script, one test file each.

Everything here is one domain's business; callers say which. Items per call are capped so that one script
does bounded work; larger batches are sent as several calls in one round trip.
"""

from __future__ import annotations

from collections.abc import Awaitable, Container, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from . import moving, scripts, shared_tenants
from .admission import settings_json
from .answers import Answer
from .batches import MAX_ITEMS, batches, sized_batches
from .calendar import period_at, write_periods
from .cancelling import cancel
from .clock import Clock
from .finish_extra import finish_args
from .holds import settle
from .intake import Intake
from .keys import Keys
from .model import (
    Claim,
    Claimed,
    Enqueued,
    Extended,
    Finish,
    NewAction,
    Outcome,
    Promoted,
    Reclaimed,
    Retention,
)
from .poison import PoisonRule, reclaim
from .replication import Replication
from .tiers import CompiledPolicy, Policy

MAX_SLOTS = 500
"""Slots per claim."""

T = TypeVar("T")
Coming = Coroutine[Any, Any, T]


class Engine:
    """The eight verbs over one Redis connection pool.

    ``lease_ms``: how long a worker owns what it claimed without extending. ``duplicate_window_ms``: how long
    at least a finished action's id is still known. ``response_ttl_ms``, ``callback_ttl_ms``: how long unread
    answers are kept.
    """

    def __init__(
        self,
        redis: Any,
        *,
        policy: Policy,
        clock: Clock,
        keys: Keys | None = None,
        lease_ms: int = 15_000,
        duplicate_window_ms: int = 300_000,
        response_ttl_ms: int = 600_000,
        callback_ttl_ms: int = 3_600_000,
    ) -> None:
        self.redis = redis
        self.policy = policy
        self.policy_version = 0
        self.clock = clock
        self.keys = keys or Keys()
        self.lease_ms = lease_ms
        self.duplicate_window_ms = duplicate_window_ms
        self.response_ttl_ms = response_ttl_ms
        self.callback_ttl_ms = callback_ttl_ms
        self.retention = Retention()
        self.poison = PoisonRule()
        self.replication: Replication | None = None
        self._compiled: dict[str, CompiledPolicy] = {}
        self._periods: dict[str, tuple[str, ...]] = {}
        self._intake = Intake(self)

    def use_policy(self, policy: Policy, version: int) -> None:
        """From now on this process goes by ``policy``, published as ``version``."""
        self.policy, self.policy_version = policy, version
        self._compiled.clear()
        self._periods.clear()
        self._intake.forget_periods()

    async def publish_policy(self, domain: str) -> int:
        """Make this process's policy the one that claims of ``domain`` run under; the version they do.

        That is another where a newer one is at work there already: then nothing is written.
        """
        root, text = self.keys.root(domain), self._policy(domain).to_json()
        settings = settings_json(self.policy, domain)
        for tenants_known in (0, 1):
            args = [text, settings, tenants_known]
            version, replaced = await scripts.run(self.redis, scripts.load("publish"), root, args)
            if version >= 0:
                break
            await shared_tenants.copy_into(self.redis, self.keys, domain)
        if replaced is not None:
            await settle(self.redis, root, self.keys.of("unsettled", domain), replaced, text)
        return int(version)

    def enqueue(self, domain: str, actions: Sequence[NewAction]) -> Coming[list[Enqueued]]:
        """Put actions in line: into their streams, or into ``scheduled`` when due later.

        The same ``action_id`` twice is one action. What may not wait is not accepted and says why; the
        others are in line. Raises :class:`ScriptError` when a foreign key stands where a stream should be;
        the others of its round trip are in line then, too. With ``replication`` raises
        :class:`UnconfirmedError` when they are in line, but on too few replicas. Very many go in several
        round trips: whatever breaks one leaves the earlier ones in line, and the same actions may be given
        again.
        """
        return self._intake.all(domain, actions)

    def enqueue_one(self, domain: str, action: NewAction) -> Coming[Enqueued]:
        """The same of one action."""
        return self._intake.one(domain, action)

    def enqueue_head(self, domain: str, now_ms: int) -> list[Any]:
        """The first arguments of the ``enqueue`` script, for whoever wraps it."""
        return self._intake.head(domain, now_ms)

    def asks_again(self, domain: str, reply: Any) -> Coming[bool]:
        """Give ``enqueue`` what it lacked, where it wrote nothing and is to be called again."""
        return self._intake.asks_again(domain, reply)

    def periods_of(self, domain: str) -> tuple[str, ...]:
        """The calendar periods that limits of the domain go by, as far as this process knows."""
        return self._periods.get(domain) or self._policy(domain).periods

    def know_periods(self, domain: str, names: Iterable[bytes]) -> None:
        """These as well: a newer policy goes by them."""
        self._periods[domain] = tuple(sorted({*self.periods_of(domain), *(name.decode() for name in names)}))

    async def write_periods(self, domain: str, names: Sequence[bytes]) -> None:
        """Write down when these begin and end: they are of time zones of tenants' own."""
        key = self.keys.of("zone_periods", domain)
        await write_periods(self.redis, key, [name.decode() for name in names], self.clock.now_ms())

    async def claim(self, domain: str, worker_id: str, slots: int) -> Claim:
        """Take up to ``slots`` actions, with ownership, in the order the laws ask for.

        With nothing (more) to take the worker is registered as a sleeper: its mailbox gets a message when
        there is.
        """
        script, root, args = self._claim_call(domain, worker_id, slots)
        reply = await scripts.run(self.redis, script, root, args)
        return await self._read_claim(reply, domain, worker_id, slots)

    def finish(self, domain: str, worker_id: str, finishes: Sequence[Finish]) -> Answer[list[bool]]:
        """Close attempts; False for each that this worker does not own any more (and writes nothing of).

        Where the client can do that, it is on its way before anybody awaits the answer.
        """
        return Answer(self.redis, self._finish_calls(domain, worker_id, finishes), _accepted, self._finished)

    async def _finished(self, asked: Awaitable[list[Any]]) -> list[bool]:
        return _accepted(await asked)

    def finish_and_claim(
        self, domain: str, worker_id: str, finishes: Sequence[Finish], slots: int
    ) -> Answer[tuple[list[bool], Claim]]:
        """Hand in and take in one round trip: the turn of a busy worker. On its way like ``finish``."""
        calls = self._finish_calls(domain, worker_id, finishes) if finishes else []
        calls.append(self._claim_call(domain, worker_id, slots))

        async def turned(asked: Awaitable[list[Any]]) -> tuple[list[bool], Claim]:
            *finished, claimed = await asked
            return _accepted(finished), await self._read_claim(claimed, domain, worker_id, slots)

        return Answer(self.redis, calls, self._turned, turned)

    def _turned(self, replies: list[Any]) -> tuple[list[bool], Claim] | None:
        claimed = replies[-1]
        if claimed[0] != b"ok":
            return None
        return _accepted(replies[:-1]), read_claim(claimed, self.clock.now_ms())

    async def extend(self, domain: str, worker_id: str, *, register: bool = False) -> Extended:
        """Prolong the worker's lease by ``lease_ms``; ``register`` starts one."""
        args = self.extend_args(worker_id, register=register)
        reply = await scripts.run(self.redis, scripts.load("extend"), self.keys.root(domain), args)
        return read_extended(reply)

    def extend_args(self, worker_id: str, *, register: bool = False) -> list[Any]:
        """Arguments of the ``extend`` script, for callers with a connection of their own (the heartbeat)."""
        now_ms = self.clock.now_ms()
        return [now_ms, worker_id, now_ms + self.lease_ms, int(register)]

    async def release(
        self, domain: str, worker_id: str, claimed: Sequence[Claimed], begun: Container[str] = ()
    ) -> int:
        """Give back actions that did not run to an end; how many were still ours. No attempt is spent.

        Limits and fair order count the starts of those whose ids are in ``begun``; of the others nothing.
        """
        calls = []
        for batch in batches(claimed, MAX_ITEMS):
            items = [part for a in batch for part in (a.action_id, a.token, int(a.action_id in begun))]
            args = [self.clock.now_ms(), worker_id, *items]
            calls.append((scripts.load("release"), self.keys.root(domain), args))
        return sum(await self._run(calls))

    async def retire(self, domain: str, worker_id: str) -> bool:
        """Leave the registry; False while the worker still owns actions."""
        return bool(
            await scripts.run(self.redis, scripts.load("retire"), self.keys.root(domain), [worker_id])
        )

    async def cancel(self, domain: str, items: Sequence[tuple[str, bytes]]) -> list[str]:
        """Cancel actions by id; each item is (action id, response for whoever waits for it).

        Per item: ``cancelled`` (it had not started), ``parent`` (the same, and
        it had sent others: cancel them, too), ``running`` (its worker has been told), ``unknown``.
        """
        return await cancel(self, domain, items)

    async def promote(self, domain: str, most: int = MAX_ITEMS) -> Promoted:
        """Make due work ready and end holds whose limit has freed, at most ``most`` of each."""
        args = [self.clock.now_ms(), most]
        moved, due = await scripts.run(self.redis, scripts.load("promote"), self.keys.root(domain), args)
        return Promoted(moved, due)

    async def reclaim(
        self, domain: str, most: int = MAX_ITEMS, *, worker_id: str = "", lease_until_ms: int | None = None
    ) -> Reclaimed:
        """Take back what one dead worker held, at most about ``most`` actions.

        ``worker_id``: that one, dead because the caller knows it, provided its lease still ends at
        ``lease_until_ms`` (None: whenever it ends). Without: one whose lease has ended.
        """
        return await reclaim(self, domain, most, worker_id, "" if lease_until_ms is None else lease_until_ms)

    async def move(
        self, domain: str, tenant_id: str, tier: str, *, by: str, why: str = "", most: int = MAX_ITEMS
    ) -> int:
        """Put a tenant on a tier, with what waits of it, in its order; how many actions that were."""
        [mover] = await moving.begin(self, [domain], tenant_id, tier, by=by, why=why, most=most)
        return await mover.run()

    def _policy(self, domain: str) -> CompiledPolicy:
        compiled = self._compiled.get(domain)
        if compiled is None:
            compiled = self._compiled[domain] = self.policy.compile(domain, self.policy_version)
        return compiled

    def _claim_call(self, domain: str, worker_id: str, slots: int) -> scripts.Call:
        now_ms = self.clock.now_ms()
        args: list[Any] = [now_ms, worker_id, min(slots, MAX_SLOTS), now_ms + self.lease_ms]
        for name in self.periods_of(domain):
            period = period_at(name, now_ms)
            args += (name, period.start_ms, period.end_ms)
        return scripts.load("claim"), self.keys.root(domain), args

    async def _read_claim(self, reply: list[Any], domain: str, worker_id: str, slots: int) -> Claim:
        status = reply[0]
        if status == b"nopolicy":
            await self.publish_policy(domain)
            return await self.claim(domain, worker_id, slots)
        if status == b"zones":  # of overrides
            await self.write_periods(domain, reply[1:])
            return await self.claim(domain, worker_id, slots)
        if status == b"periods":  # of a policy that we do not know
            self._periods[domain] = tuple(sorted({name.decode() for name in reply[1:]}))
            return await self.claim(domain, worker_id, slots)
        if status == b"lost":
            return Claim([], 0, False, lost=True)
        return read_claim(reply, self.clock.now_ms())

    def _finish_calls(self, domain: str, worker_id: str, finishes: Sequence[Finish]) -> list[scripts.Call]:
        now_ms = self.clock.now_ms()
        fixed = [now_ms, worker_id, self.duplicate_window_ms, self.response_ttl_ms, self.callback_ttl_ms]
        calls: list[scripts.Call] = []
        for batch in sized_batches(finishes, [len(finish.response or b"") for finish in finishes]):
            args = [*fixed, *finish_args(batch, now_ms, worker_id)]
            calls.append((scripts.load("finish"), self.keys.root(domain), args))
        return calls

    async def _run(self, calls: Sequence[scripts.Call]) -> list[Any]:
        return await scripts.run_all(self.redis, calls)


def _accepted(replies: Sequence[list[int]]) -> list[bool]:
    return [flag == 1 for reply in replies for flag in reply]


def read_claim(reply: list[Any], now_ms: int) -> Claim:
    """The reply of the ``claim`` script as values."""
    _, token, next_due_ms, more, policy_version = reply[:5]
    actions, at = [], 5
    while at < len(reply):
        stream, attempt, of_run = reply[at].decode().split(" ")
        tenant_id, _, tier = stream.partition(":")
        attempts, first, at = int(attempt), at + 1, at + 1 + 2 * int(of_run)
        for head_at in range(first, at, 2):
            version, action_id, deadline, action_type, enqueued, reply_to, unique = (
                reply[head_at].decode().split(" ")
            )
            deadline_ms = 0 if deadline == "0" else int(deadline)
            fields = (
                action_id,
                action_type,
                tenant_id,
                tier,
                reply[head_at + 1],
                attempts,
                token,
                int(enqueued),
                now_ms,
                deadline_ms,
                "" if reply_to == "-" else reply_to,
                "" if unique == "-" else unique,
                0 < deadline_ms <= now_ms,
                version[0] == "-",
            )
            actions.append(tuple.__new__(Claimed, fields))  # what Claimed(*fields) makes, in half the time
    return Claim(actions, next_due_ms, bool(more), policy_version=policy_version)


def read_extended(reply: list[Any]) -> Extended:
    """The reply of the ``extend`` script as a value."""
    return Extended(reply[0] == 1, [action_id.decode() for action_id in reply[1:]])


__all__ = ["MAX_SLOTS", "Engine", "Outcome", "read_claim", "read_extended"]
