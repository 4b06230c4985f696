"""What all clients and workers of one Redis client share: the engine, the clock, the waiting callers."""

from __future__ import annotations

import asyncio
import time
from importlib.resources import files
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError

from ._engine import (
    Clock,
    Engine,
    Keys,
    PoisonRule,
    Policy,
    PolicyStore,
    Registry,
    Replication,
    Retention,
    ServerClock,
)
from .endings import closing_poisoned
from .multiplexed import Multiplexed, multiplexed
from .queue_manager import QueueManager
from .replies import ReplyListener
from .settings import CommonAppSettings

POLICY_AGE_S = 1.0
"""How old a client's knowledge of the policy may be."""


class Calls(asyncio.Semaphore):
    """How many calls talk to Redis at once."""

    def begin(self) -> bool:
        """Take a place if one is free: `acquire` without a coroutine."""
        if self.locked():
            return False
        self._value -= 1
        return True


_buses: WeakKeyDictionary[Any, Bus] = WeakKeyDictionary()


class Bus:
    """One per Redis client and process. `Bus.of` gives the shared one."""

    def __init__(
        self,
        redis: Any,
        settings: CommonAppSettings,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.redis = redis
        self.settings = settings
        self.keys = Keys(settings.key_prefix, cluster=settings.redis_cluster)
        self.clock: Clock = clock or ServerClock()
        self._scripts = multiplexed(redis)
        self.engine = Engine(
            self._scripts,
            policy=policy or load_policy(settings),
            clock=self.clock,
            keys=self.keys,
            lease_ms=int(settings.lease_s * 1000),
            duplicate_window_ms=int(settings.dedupe_window_s * 1000),
            response_ttl_ms=int(settings.result_ttl_s * 1000),
        )
        self.engine.retention = Retention(settings.dead_letters_kept, int(settings.dead_letters_ttl_s * 1000))
        self.engine.poison = PoisonRule(
            settings.poison_deaths, closing_poisoned(settings.service_name, settings.payload_limits)
        )
        if settings.durability == "replicated":
            timeout_ms = int(settings.replication_timeout_s * 1000)
            self.engine.replication = Replication(settings.min_replicas, max(timeout_ms, 1))
        self.policies = PolicyStore(self.engine)
        self.registry = Registry(self.engine)
        self.queue_manager = QueueManager(
            settings.environment, keys=self.keys, registry=settings.service_registry()
        )
        # However many callers there are, so many talk to Redis at once; the others wait their turn instead of
        # opening a connection each, or failing where the pool's size is bounded.
        self.calls = Calls(max(settings.redis_max_connections // 2, 1))
        self.replies = ReplyListener(self._scripts, self.keys, calls=self.calls)
        self._policy_known_until_s = 0.0
        self._calibrating = asyncio.Lock()

    @classmethod
    def of(cls, redis: Any, settings: CommonAppSettings) -> Bus:
        """The bus of this Redis client, made at the first call."""
        bus = _buses.get(redis)
        if bus is None:
            bus = _buses[redis] = cls(redis, settings)
        return bus

    @classmethod
    def use(cls, redis: Any, bus: Bus) -> Bus:
        """Make `bus` the one that `of` gives for this client (another policy, a clock under control)."""
        _buses[redis] = bus
        return bus

    @property
    def policy(self) -> Policy:
        """The policy this process goes by: the newest it knows of the store, at first its own file's."""
        return self.engine.policy

    @property
    def policy_is_old(self) -> bool:
        """Whether a second has passed since this process last asked for the newest policy."""
        return time.monotonic() >= self._policy_known_until_s

    async def refresh_policy(self, *, now: bool = False) -> bool:
        """Know the newest policy as of a second ago, or as of `now`; whether it is another than before.

        Without an answer of Redis within a second, what is known has to do: whoever writes next tells.
        """
        if not now and not self.policy_is_old:
            return False
        self._policy_known_until_s = time.monotonic() + POLICY_AGE_S
        try:
            async with asyncio.timeout(POLICY_AGE_S), self.calls:
                return await self.policies.catch_up()
        except (RedisError, OSError):
            return False

    @property
    def is_ready(self) -> bool:
        """Whether commands may be sent: not before the server's clock is known."""
        return not isinstance(self.clock, ServerClock) or self.clock.calibrated

    async def ready(self) -> None:
        """Before the first command: agree with the server about the time."""
        if isinstance(self.clock, ServerClock) and not self.is_ready:
            async with self._calibrating:
                if not self.clock.calibrated:
                    await self.clock.calibrate(self.redis)

    async def close(self) -> None:
        """Stop waiting for responses; the Redis client stays open, it is its owner's."""
        await self.replies.close()
        if isinstance(self._scripts, Multiplexed):
            await self._scripts.disconnect()
        if _buses.get(self.redis) is self:
            del _buses[self.redis]


def load_policy(settings: CommonAppSettings) -> Policy:
    """The policy that the settings name, else `config/tiers.toml` if there is one, else the one shipped."""
    if settings.tiers_file is not None:
        return Policy.load(settings.tiers_file)
    local = Path("config/tiers.toml")
    if local.is_file():
        return Policy.load(local)
    shipped = files(__package__) / "_config" / "tiers.toml"
    if not shipped.is_file():
        shipped = Path(__file__).parent.parent / "config" / "tiers.toml"
    return Policy.parse(shipped.read_text(encoding="utf-8"), source="the shipped tiers.toml")


async def close_bus(redis: Any) -> None:
    """Close the bus of a client that is about to be closed, if it has one."""
    bus = _buses.get(redis)
    if bus is not None:
        await bus.close()
