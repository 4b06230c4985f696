"""Steps of a random history, done on two databases at once; see test_two_ways.py."""

from __future__ import annotations

from typing import Any

from scheduler import (
    Claimed,
    Engine,
    Finish,
    NewAction,
    Outcome,
    Policy,
    Registry,
    RegistryError,
    ScriptError,
    children,
    overrides,
    pauses,
)
from scheduler.dead_letters import DeadLetters, LetterFilter
from scheduler.holds import rehold
from scheduler.poison import PoisonRule
from scheduler.schedule_store import ScheduleStore
from scheduler.schedules import Schedule
from tests.scheduler.twins import ADD, Twins
from tests.scheduler.world import World


class History:
    """Does each step; what the engine replies tells what can be done next."""

    def __init__(self, twins: Twins, policies: list[Policy]) -> None:
        self.policies, self.tiers = policies, policies[0].names()
        self.world = World(twins, policies[0])
        self.twins = twins
        self.engine, self.domain = self.world.engine, self.world.domain
        self.engine.poison = PoisonRule(deaths=2)
        self.owned: dict[str, tuple[str, Claimed]] = {}
        self.stale: list[tuple[str, Claimed]] = []
        self.known = ["x000"]
        self.where = (self.engine, [self.domain])

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        await self.world.worker("w1", "w2")
        for verb, *arguments in steps:
            try:
                await getattr(self, verb)(*arguments)
            except (ScriptError, RegistryError) as error:
                if "not a stream" not in str(error):  # see `strange`
                    raise
            await self.twins.check_all_is_the_same()

    async def one(
        self,
        tenant: str,
        tier: str,
        due_in: int,
        deadline_in: int,
        reply_to: str,
        unique: str,
        slots: int,
    ) -> None:
        mark, tier = tier[: tier.startswith("~")], tier.removeprefix("~")
        name = mark + (self._tier(int(tier)) if tier.isdigit() else tier)
        action = self._new("embedding.b", tenant, name, due_in, deadline_in, reply_to, unique)
        await self.engine.enqueue_one(self.domain, action)
        if slots:
            await self.claim("w1", slots)

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
        name = self._tier(tier)
        made = [self._new(kind, tenant, name, due_in, deadline_in, "*", unique) for _ in range(count)]
        if again:
            made.append(made[-1]._replace(action_id=self.known[-2]))
        await self.world.enqueue(*made)

    def _new(
        self, kind: str, tenant: str, tier: str, due_in: int, deadline_in: int, reply_to: str, unique: str
    ) -> NewAction:
        due_ms = self.world.now + due_in if due_in else 0
        deadline_ms = self.world.now + deadline_in if deadline_in else 0
        self.known.append(f"x{len(self.known):03}")
        return NewAction(self.known[-1], kind, tenant, tier, b"{}", due_ms, deadline_ms, reply_to, unique)

    async def claim(self, worker: str, slots: int) -> None:
        claim = await self.world.claim(worker, slots)
        if claim.lost:
            await self.world.worker(worker)
        self._taken(worker, claim.actions)

    def _taken(self, worker: str, actions: list[Claimed]) -> None:
        self.owned.update({action.action_id: (worker, action) for action in actions})

    async def complete(self, number: int, size: int, stale: bool) -> None:
        for worker, action in await self._some_taken([number]):
            finish = Finish(action, Outcome.COMPLETED, b"r" * size, run_time_us=7 * size)
            await self.engine.finish(self.domain, worker, [finish])
            self._forget(worker, action)
        if stale and self.stale:
            worker, action = self.stale[number % len(self.stale)]
            await self.world.finish(action, worker=worker)

    async def complete_and_claim(self, number: int, slots: int) -> None:
        for worker, action in await self._some_taken([number]):
            finish = Finish(action, Outcome.COMPLETED, b"r", run_time_us=7_000)
            _, claim = await self.engine.finish_and_claim(self.domain, worker, [finish], slots)
            self._forget(worker, action)
            self._taken(worker, claim.actions)

    async def finish(
        self, numbers: list[int], outcome: Outcome, delay: int, run_time_us: int, pressed: tuple[str, int]
    ) -> None:
        by_worker: dict[str, list[Finish]] = {}
        for worker, action in await self._some_taken(numbers):
            queue = self.world.keys.callback(self.domain, "query", "done") if numbers[0] % 3 == 0 else ""
            reason = "no" if outcome in (Outcome.RETRY, Outcome.DEAD) else ""
            due_ms, until_ms = self.world.now + delay, self.world.now + pressed[1]
            rest = (b"done", due_ms, run_time_us, queue, b"{}", reason, pressed[0], until_ms)
            by_worker.setdefault(worker, []).append(Finish(action, outcome, *rest))
            self._forget(worker, action)
        for worker, finishes in by_worker.items():
            await self.engine.finish(self.domain, worker, finishes)

    async def late_finish(self, number: int) -> None:
        await self.complete(number, 1, stale=True)

    async def release(self, numbers: list[int], has_begun: bool) -> None:
        for worker, action in await self._some_taken(numbers):
            begun = {action.action_id} if has_begun else set[str]()
            await self.engine.release(self.domain, worker, [action], begun)
            self._forget(worker, action)

    async def cancel(self, number: int) -> None:
        await self.world.cancel(self.known[-1 - number % len(self.known)])

    async def extend(self, worker: str, register: bool) -> None:
        await self.engine.extend(self.domain, worker, register=register)

    async def promote(self) -> None:
        await self.engine.promote(self.domain)

    async def reclaim(self) -> None:
        await self.engine.reclaim(self.domain)

    async def override(
        self,
        tenant: str,
        weight: float | None,
        limits: list[dict[str, str]] | None,
        running: int | None,
        zone: str | None,
    ) -> None:
        rules: dict[str, Any] = {"weight": weight, "limits": limits, "max_concurrency": running}
        if (*rules.values(), zone) != (None,) * 4:
            await overrides.set_override(*self.where, tenant, by="me", time_zone=zone, **rules)

    async def clear(self, tenant: str) -> None:
        await overrides.clear_override(*self.where, tenant, by="me")

    async def pause_tenant(self, tenant: str) -> None:
        await overrides.pause_tenant(*self.where, tenant, by="me")

    async def resume_tenant(self, tenant: str) -> None:
        await overrides.resume_tenant(*self.where, tenant, by="me")

    def _stop(self, number: int) -> str:
        return ["type:embedding.long", "tier:" + self.tiers[-1], "type:embedding.b", "domain"][number % 4]

    async def pause(self, number: int) -> None:
        await pauses.pause(*self.where, self._stop(number), by="me")

    async def resume(self, number: int) -> None:
        await pauses.resume(*self.where, self._stop(number), by="me", most=2)

    async def publish(self, number: int) -> None:
        self.engine.use_policy(self.policies[number % len(self.policies)], 0)
        await self.engine.publish_policy(self.domain)

    async def register(self, tenant: str, tier: int | None) -> None:
        registry = Registry(self.engine)
        if tier is None:
            await registry.unregister(tenant, by="me")
        else:
            await registry.register(tenant, self._tier(tier), by="me")

    async def drain_tenant(self, tenant: str, end: bool) -> None:
        registry = Registry(self.engine)
        await (registry.resume(tenant, by="me") if end else registry.drain(tenant, by="me"))

    async def move(self, tenant: str, tier: int) -> None:
        await Registry(self.engine).move(tenant, self._tier(tier), by="me")

    async def rehold(self, every: bool) -> None:
        limits = () if every else ("2/minute", "1/second", "concurrency 1")
        await rehold(self.world.redis, self.world.keys.root(self.domain), limits)

    async def advance(self, ms: int) -> None:
        self.world.clock.advance(ms)

    async def adopt(self, number: int) -> None:
        for _, action in await self._some_taken([number]):
            await children.adopt(self.engine, self.domain, action.action_id, ["child"])

    async def schedule(self, tenant: str, seconds: int) -> None:
        store = ScheduleStore(self.engine)
        name = f"s{len(await store.names(self.domain))}"
        schedule = Schedule(name, "embedding.b", tenant, payload=b"{}", every_ms=seconds * 1_000)
        await store.create(self.domain, schedule, by="me")

    async def fire(self) -> None:
        await ScheduleStore(self.engine).fire_due(self.domain)

    async def redrive(self) -> None:
        letters = DeadLetters(self.engine)
        async for page in letters.pages(self.domain, LetterFilter()):
            await letters.redrive(self.domain, page[:2])

    async def cancel_running(self, number: int) -> None:
        for _, action in await self._some_taken([number]):
            await self.world.cancel(action.action_id)

    async def other_process(self, number: int) -> None:
        """One that has its own idea of the policy, and knows nothing yet."""
        policy = self.policies[number % len(self.policies)]
        self.world.engine = self.engine = Engine(self.twins, policy=policy, clock=self.world.clock)
        self.engine.poison = PoisonRule(deaths=2)
        self.where = (self.engine, [self.domain])

    async def strange(self, tenant: str, tier: int, what: str) -> None:
        """Somebody else writes to what is ours."""
        redis, stream = self.twins, self.world.stream(tenant, self._tier(tier))
        there: Any = await redis.mine("KEYS", self.world.stream("*", "*"))
        if there:
            stream = sorted(there)[tier % len(there)].decode()
        if what == "set":
            await redis.execute_command("DEL", stream)
            await redis.execute_command("SET", stream, "theirs", "PX", 3_600_000)
        elif what == "hash":
            await redis.execute_command("DEL", stream)
            await redis.execute_command("HSET", stream, "theirs", 1)
        elif what == "del":
            await redis.execute_command("DEL", stream)
        elif what == "disown":
            await redis.execute_command("DEL", self.world.key("owned", "w1"))
        elif what == "forget":
            await redis.execute_command("HDEL", self.world.key("actions"), self.known[-1])
        elif await redis.execute_command("TYPE", stream) == b"stream":
            await self._strange_entry(stream, what)

    async def _strange_entry(self, stream: str, what: str) -> None:
        entries: Any = await self.twins.execute_command("XRANGE", stream, "-", "+")
        if what == "trim":
            await self.twins.execute_command("XTRIM", stream, "MAXLEN", 0)
        elif entries and what == "xdel":
            await self.twins.execute_command("XDEL", stream, entries[-1][0])
        elif entries:
            fields = entries[0][1] if what == "copy" else {b"foo": b"bar"}
            flat = [part for pair in fields.items() for part in pair]
            await self.twins.execute_command("EVAL", ADD, 1, stream, *flat)

    async def cancelled_and_again(self, number: int) -> None:
        """Who claims it again is told."""
        await self.cancel_running(number)
        outcome = [Outcome.RETRY, Outcome.SNOOZED, Outcome.COMPLETED][number % 3]
        await self.finish([number], outcome, 0, 7, ("", 0))
        await self.claim("w2", 1 + number % 2)

    async def overridden(self, number: int) -> None:
        limits = [{"rate": "1/second"}] if number % 3 == 0 else None
        await overrides.set_override(*self.where, "a", by="me", weight=4.0, limits=limits)
        await self.one("ab"[number % 2], "0", 0, 0, "", "", slots=1 + number % 3)

    async def crowded(self, number: int) -> None:
        """Tiers that get nothing save up, till one action is left, or none."""
        made = [
            self._new("embedding.b", tenant, tier, 0, 0, "", "") for tier in self.tiers for tenant in "ab"
        ]
        await self.world.enqueue(*made)
        for _ in range(1 + number % 3):
            await self.claim("w1", 1)
        for action in made[number % 2 :]:
            if action.action_id not in self.owned:
                await self.world.cancel(action.action_id)
        await self.claim("w1", 1 + number % 2)

    async def beside_a_stranger(self, number: int) -> None:
        await self.calm()
        await self.one("a", "0", 0, 0, "c1", "", slots=0)
        await self.strange("a", 0, ["junk", "copy", "xdel", "trim"][number % 4])
        await self.claim("w1", 1 + number % 3)

    async def under_another_policy(self, number: int) -> None:
        await self.calm()
        await self.publish(number)
        await self.other_process(number // 3)
        await self.one("a", "0", 0, 0, "c1", "", slots=1 + number % 2)

    async def calm(self) -> None:
        """Whatever stands in the way ends, and all that can be done is done."""
        for what in range(4):
            await self.resume(what)
        for tenant in ("a", "b", "c"):
            await self.clear(tenant)
            await self.resume_tenant(tenant)
            for tier in self.tiers:
                stream = self.world.stream(tenant, tier)
                if await self.twins.execute_command("TYPE", stream) not in (b"stream", b"none"):
                    await self.twins.execute_command("DEL", stream)
        for _ in range(10):
            for worker in ("w1", "w2"):
                await self.world.worker(worker)
                await self.claim(worker, 10)
            if not self.owned:
                return
            for worker in ("w1", "w2"):
                actions = [action for owner, action in self.owned.values() if owner == worker]
                await self.world.finish(*actions, worker=worker, response=b"r")
                for action in actions:
                    self._forget(worker, action)

    def _tier(self, number: int) -> str:
        return self.tiers[number % len(self.tiers)]

    async def _some_taken(self, numbers: list[int]) -> list[tuple[str, Claimed]]:
        if not self.owned:
            await self.claim("w1", 1 + numbers[0] % 2)
        names = sorted(self.owned)
        chosen = {names[number % len(names)] for number in numbers} if names else set()
        return [self.owned[name] for name in sorted(chosen)]

    def _forget(self, worker: str, action: Claimed) -> None:
        self.owned.pop(action.action_id, None)
        self.stale.append((worker, action))
