"""Random histories on the real server and on the oracle, compared after every step.

NOOBLE_TEST_NIGHTLY=1 runs many and long ones; ``--hypothesis-seed`` repeats a run. A failing history is
shrunk and printed as a list of verbs.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scheduler import (
    Claimed,
    Engine,
    Finish,
    NewAction,
    Outcome,
    Policy,
    Registry,
    State,
    overrides,
    pauses,
)
from scheduler.admission import admission_of
from scheduler.finish_extra import scope_of
from scheduler.holds import rehold
from scheduler.oracle import Oracle
from scheduler.oracle_operations import Operations
from scheduler.oracle_registry import move
from scheduler.poison import PoisonRule
from tests.scheduler.histories import LONG_LINES, STEP, refused, some_policies
from tests.scheduler.picture import Picture
from tests.scheduler.world import MINUTE, World

NIGHTLY = os.environ.get("NOOBLE_TEST_NIGHTLY") == "1"
EXAMPLES, STEPS = (2_000, 50) if NIGHTLY else (60, 30)


class History:
    """Does each verb on both sides and compares what they say, then all that is stored."""

    def __init__(self, redis: Redis, policies: list[Policy]) -> None:
        self.policies = policies
        self.world = World(redis, policies[0])
        self.tiers = policies[0].names()
        self.world.engine.poison = PoisonRule(deaths=2)
        self.oracle = Oracle(policies[0].compile(self.world.domain), self.world.now, poison_deaths=2)
        self.oracle.register.admission = admission_of(policies[0])
        self.operations = Operations(self.oracle, policies[0].compile(self.world.domain))
        self.owned: dict[str, tuple[str, Claimed]] = {}
        self.stale: list[tuple[str, Claimed]] = []
        self.count = 0
        self.pausable = ["type:embedding.long", "tier:" + self.tiers[-1], "type:embedding.b", "domain"]

    @property
    def where(self) -> tuple[Engine, list[str]]:
        return self.world.engine, [self.world.domain]

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for worker in ("w1", "w2"):
            await self.extend(worker, True)
        await self.world.engine.publish_policy(self.world.domain)
        for verb, *arguments in steps:
            await getattr(self, verb)(*arguments)
            picture = Picture(await self.world.snapshot())
            picture.check_laws()
            picture.check_against(self.oracle)

    async def enqueue(
        self,
        tenant: str,
        tier: int,
        count: int,
        due_in: int,
        deadline_in: int,
        unique: str,
        again: bool,
        kind: str,
    ) -> None:
        due_ms = self.world.now + due_in if due_in else 0
        deadline_ms = self.world.now + deadline_in if deadline_in else 0
        name = self._tier(tier)
        actions = []
        for _ in range(count):
            self.count += 0 if again and self.count else 1
            action_id = f"x{self.count:03}"
            actions.append(NewAction(action_id, kind, tenant, name, b"{}", due_ms, deadline_ms, "*", unique))
        said = await self.world.enqueue(*actions)
        told = [reply.existing_id or refused(reply.refusal) for reply in said]
        assert told == [self.oracle.enqueue(action) for action in actions]
        for reply in said:
            event(f"enqueue: {reply.refusal.reason if reply.refusal else reply.accepted}")

    async def claim(self, worker: str, slots: int) -> None:
        if any(what.startswith("type:") for what in self.oracle.said.paused):
            self._tell_periods()
        claim = await self.world.claim(worker, slots)
        expected = self.oracle.claim(worker, slots)
        assert claim.lost == expected.lost
        if claim.lost:
            await self.extend(worker, True)
        assert sorted((action.action_id, action.attempt) for action in claim.actions) == sorted(
            (action.action_id, action.attempt) for action in expected.actions
        )
        if expected.more and len(claim.actions) < slots:
            assert claim.more or claim.next_due_ms  # only a limit of the whole domain may be in the way
        if not claim.more and len(claim.actions) < slots:
            assert claim.next_due_ms == expected.next_due_ms
        for action in claim.actions:
            assert action.expired == (0 < action.deadline_ms <= self.world.now)
            self.owned[action.action_id] = (worker, action)
            event("expired" if action.expired else "started" if action.attempt == 1 else "started again")

    def _tell_periods(self) -> None:
        """A claim asks for calendar periods of overrides before it starts anything. Whom it meets after that,
        in place of what it set aside, has to wait for the next claim should they be unknown."""
        own = [each.limits or () for each in self.oracle.said.overrides.values()]
        of_policy = self.world.engine.policy.compile(self.world.domain).periods
        periods = {*of_policy, *(limit.period for limits in own for limit in limits if limit.period)}
        self.world.engine._periods[self.world.domain] = tuple(sorted(periods))

    async def finish(
        self, numbers: list[int], outcome: Outcome, delay: int, run_time_us: int, pressed: tuple[str, int]
    ) -> None:
        due_ms, until_ms = self.world.now + delay, self.world.now + pressed[1]
        for worker, action in self._some_owned(numbers):
            finish = Finish(action, outcome, b"done", due_ms, run_time_us)
            finishes = [finish._replace(pressed=pressed[0], pressed_until_ms=until_ms)]
            scope = (scope_of(action, pressed[0]), until_ms) if pressed[0] else ("", 0)
            said = await self.world.engine.finish(self.world.domain, worker, finishes)
            assert said == [self.oracle.finish(worker, action.action_id, outcome, due_ms, run_time_us, scope)]
            self._forget(worker, action)

    async def release(self, numbers: list[int], has_begun: bool) -> None:
        for worker, action in self._some_owned(numbers):
            begun = {action.action_id} if has_begun else set[str]()
            given = await self.world.engine.release(self.world.domain, worker, [action], begun)
            assert given == self.oracle.release(worker, action.action_id, begun=has_begun)
            self._forget(worker, action)

    async def late_finish(self, number: int) -> None:
        """Claims of the past: released, reclaimed or finished already. Nothing may happen."""
        if self.stale:
            worker, action = self.stale[number % len(self.stale)]
            before = await self.world.snapshot()
            assert await self.world.finish(action, worker=worker) == [False]
            assert await self.world.snapshot() == before

    async def cancel(self, number: int) -> None:
        alive = sorted(self.oracle.alive) or ["x000"]
        name = alive[number % len(alive)]
        said = self.oracle.cancel(name)
        assert await self.world.cancel(name) == [said]
        event(f"cancel: {said}")

    async def extend(self, worker: str, register: bool) -> None:
        extended = await self.world.engine.extend(self.world.domain, worker, register=register)
        assert extended.held == self.oracle.extend(worker, register=register)
        if extended.held:
            assert set(extended.cancelled) == self.oracle.workers[worker].cancelling

    async def promote(self) -> None:
        assert (await self.world.engine.promote(self.world.domain)).moved == self.oracle.promote()

    async def reclaim(self) -> None:
        before = set(self.oracle.workers)
        assert tuple(await self.world.engine.reclaim(self.world.domain)) == self.oracle.reclaim()
        dead = before - set(self.oracle.workers)
        for worker, action in [pair for pair in self.owned.values() if pair[0] in dead]:
            self._forget(worker, action)
            event("poisoned" if self.oracle.state(action.action_id) is State.UNKNOWN else "reclaimed")

    async def override(
        self,
        tenant: str,
        weight: float | None,
        limits: list[dict[str, str]] | None,
        running: int | None,
        zone: str | None,
    ) -> None:
        if (weight, limits, running, zone) != (None,) * 4:
            rules: dict[str, Any] = {"weight": weight, "limits": limits, "max_concurrency": running}
            await overrides.set_override(*self.where, tenant, by="me", time_zone=zone, **rules)
            await self._same_override(tenant)

    async def clear(self, tenant: str) -> None:
        await overrides.clear_override(*self.where, tenant, by="me")
        await self._same_override(tenant)

    async def pause_tenant(self, tenant: str) -> None:
        await overrides.pause_tenant(*self.where, tenant, by="me")
        await self._same_override(tenant)

    async def resume_tenant(self, tenant: str) -> None:
        await overrides.resume_tenant(*self.where, tenant, by="me")
        await self._same_override(tenant, resumed=True)

    async def _same_override(self, tenant: str, *, resumed: bool = False) -> None:
        now = await overrides.get_override(self.world.engine, self.world.domain, tenant)
        self.operations.set_override(tenant, now, resumed=resumed)

    async def pause(self, number: int) -> None:
        await pauses.pause(*self.where, self.pausable[number % len(self.pausable)], by="me")
        self.operations.pause(self.pausable[number % len(self.pausable)])

    async def resume(self, number: int) -> None:
        what = [*self.pausable, "limit:x"][number % 5]
        if what == "limit:x" and "x" not in self.world.engine.policy.limits:
            return
        event(f"set aside: {any(action.aside for action in self.oracle.alive.values())}")
        await pauses.resume(*self.where, what, by="me", most=2)
        self.operations.resume(what)

    async def publish(self, number: int) -> None:
        policy = self.policies[number % len(self.policies)]
        if policy is self.world.engine.policy:
            return
        self.world.engine.use_policy(policy, 0)
        await self.world.engine.publish_policy(self.world.domain)
        self.operations.publish(policy.compile(self.world.domain))
        self.oracle.register.admission = admission_of(policy)

    async def register(self, tenant: str, tier: int | None) -> None:
        registry, name = Registry(self.world.engine), "" if tier is None else self._tier(tier)
        await (registry.register(tenant, name, by="me") if name else registry.unregister(tenant, by="me"))
        self.oracle.register.register(tenant, name or None)

    async def drain_tenant(self, tenant: str, end: bool) -> None:
        registry = Registry(self.world.engine)
        await (registry.resume(tenant, by="me") if end else registry.drain(tenant, by="me"))
        self.oracle.register.drain(tenant, end=end)

    async def move(self, tenant: str, tier: int) -> None:
        name = self._tier(tier)
        moved = await Registry(self.world.engine).move(tenant, name, by="me")
        assert moved == move(self.oracle, tenant, name)
        event(f"moved: {min(moved, 3)}")

    def _tier(self, number: int) -> str:
        return self.tiers[number % len(self.tiers)]

    async def rehold(self, every: bool) -> None:
        limits = () if every else ("2/minute", "1/second", "concurrency 1")
        assert await rehold(
            self.world.redis, self.world.keys.root(self.world.domain), limits
        ) == self.operations.rehold(limits)

    async def advance(self, ms: int) -> None:
        self.world.clock.advance(ms)
        self.oracle.advance(ms)

    def _some_owned(self, numbers: list[int]) -> list[tuple[str, Claimed]]:
        names = sorted(self.owned)
        chosen = {names[number % len(names)] for number in numbers} if names else set()
        return [self.owned[name] for name in sorted(chosen)]

    def _forget(self, worker: str, action: Claimed) -> None:
        del self.owned[action.action_id]
        self.stale.append((worker, action))

    async def drain(self) -> None:
        """Whatever happened: everything alive can be brought to an end, and then nothing is left."""
        await self.world.worker("w9")
        for what in list(self.oracle.said.paused):
            await pauses.resume(*self.where, what, by="me")
        for tenant in list(self.oracle.said.overrides):
            await overrides.clear_override(*self.where, tenant, by="me")
            await overrides.resume_tenant(*self.where, tenant, by="me")
        for _ in range(1_000):
            for worker, action in list(self.owned.values()):
                if not (await self.world.finish(action, worker=worker))[0]:
                    event("lost to reclaim")
                self._forget(worker, action)
            await self.world.engine.promote(self.world.domain)
            while (await self.world.engine.reclaim(self.world.domain)).workers:
                pass
            await self.world.worker("w9")
            claim = await self.world.claim("w9", 50)
            self.owned = {action.action_id: ("w9", action) for action in claim.actions}
            if not claim.actions and not claim.more:
                if not claim.next_due_ms:
                    break
                self.world.clock.set(max(claim.next_due_ms, self.world.now))
        self.world.clock.advance(MINUTE)  # no handler says not now for longer
        await self.world.engine.promote(self.world.domain)
        pressed = (await self.world.snapshot()).get("backpressure")
        if pressed:  # nobody waits for it any more; it ends with its time, at the next claim
            self.world.clock.set(max(int(max(pressed.values())), self.world.now))
            await self.world.worker("w9")
            await self.world.claim("w9", 1)
        left = await self.world.unfinished()
        assert not {name for name in left if not name.startswith(("resp:", "tags:", "mailbox:"))}, left


async def _run(url: str, policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
    redis = Redis.from_url(url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0))
    async with redis:
        await redis.flushdb()
        history = History(redis, policies)
        await history.run(steps)
        await history.drain()


@pytest.mark.timeout(7200 if NIGHTLY else 120)
def test_the_server_does_what_the_oracle_says(redis_url: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    @given(
        policies=some_policies(),
        steps=st.lists(STEP, min_size=STEPS, max_size=STEPS),
    )
    def same(policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
        asyncio.run(_run(redis_url, policies, steps))

    same()


@pytest.mark.timeout(600 if NIGHTLY else 120)
def test_so_does_it_where_much_is_set_aside(redis_url: str) -> None:
    """Long lines of a paused type: as many leave them in each claim, and as many slots go to others."""

    @settings(
        max_examples=200 if NIGHTLY else 20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(policies=some_policies(), steps=st.lists(LONG_LINES, min_size=12, max_size=12))
    def same(policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
        asyncio.run(_run(redis_url, policies, [*steps[:4], ("pause", 0), *steps[4:]]))

    same()


def test_unknown_is_what_the_oracle_says_of_an_id_it_never_saw() -> None:
    oracle = Oracle(Policy.parse('default_tier="t"\n[tiers.t]\npriority=1').compile("d"), 0)
    assert oracle.state("x") is State.UNKNOWN
