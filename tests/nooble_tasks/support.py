"""What the tests of clients and workers share: a service with signals, a worker in the test's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    BaseWorker,
    Bus,
    CommonAppSettings,
    DomainAction,
    ExecutionContext,
    RetryPolicy,
    handles,
)
from nooble_tasks._engine import Keys, NewAction
from nooble_tasks.children import go_on_cancelling

DOMAIN = "probe"
KEYS = Keys()
SOON_S = 10.0  # how long a test waits for what must happen
AT_ONCE = RetryPolicy(max_attempts=3, first_delay_s=0)


def settings_for(domain: str = DOMAIN, **values: Any) -> CommonAppSettings:
    return CommonAppSettings(service_name=f"{domain}_service", **values)


def action(verb: str = "echo", data: Any = None, *, domain: str = DOMAIN, **fields: Any) -> DomainAction:
    """An action of a tenant whose tier has no limits."""
    fields = {"tenant_id": "acme", "tenant_tier": "enterprise", **fields}
    return DomainAction(action_type=f"{domain}.{verb}", data=data, **fields)


class ProbeService(BaseService):
    """Handlers that say when they start and that end when the test says so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"app_settings": settings_for(), **options})
        self.calls: list[DomainAction] = []
        self.attempts: list[int] = []
        self.started: asyncio.Queue[DomainAction] = asyncio.Queue()
        self.interrupted: asyncio.Queue[DomainAction] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.running = 0
        self.most_running = 0

    @handles("probe.echo")
    async def echo(self, data: Any, action: DomainAction) -> Any:
        """Give the data back."""
        self._note(action)
        return data

    @handles("probe.wait")
    async def wait(self, data: Any, action: DomainAction, context: ExecutionContext) -> Any:
        """Run until the gate opens."""
        self._note(action)
        self.attempts.append(context.attempt)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.started.put_nowait(action)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.interrupted.put_nowait(action)
            raise
        finally:
            self.running -= 1
        return data

    @handles("probe.fail")
    async def fail(self, action: DomainAction) -> None:
        """Fail for good."""
        self._note(action)
        raise ValueError("no such thing")

    def _note(self, action: DomainAction) -> None:
        self.calls.append(action)

    async def next_started(self) -> DomainAction:
        """The next action that `wait` began to run."""
        return await soon(self.started.get())


async def soon(awaitable: Awaitable[Any], within_s: float = SOON_S) -> Any:
    """What is awaited; a failure when it takes too long."""
    async with asyncio.timeout(within_s):
        return await awaitable


async def until(
    holds: Callable[[], Awaitable[Any]], what: str = "the condition", within_s: float = SOON_S
) -> Any:
    """Ask again and again (asking a server is a pause) until the answer is true; returns the answer."""
    try:
        async with asyncio.timeout(within_s):
            while not (answer := await holds()):  # noqa: ASYNC110 - a server sets no event
                await asyncio.sleep(0)
            return answer
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {within_s:g} s") from None


@asynccontextmanager
async def working(
    redis: Any,
    service: BaseService | Sequence[BaseService],
    *,
    settings: CommonAppSettings | None = None,
    kind: type[BaseWorker] = BaseWorker,
    grace_s: float = 0.0,
    **options: Any,
) -> AsyncIterator[BaseWorker]:
    """A worker that runs during the block and has joined its domains when it begins."""
    first = service if isinstance(service, BaseService) else service[0]
    worker = kind(settings or first.app_settings, redis, service, **options)
    running = asyncio.create_task(worker.run())
    joined = asyncio.create_task(until(lambda: is_asleep(redis, worker), "the worker asks for work"))
    await asyncio.wait((running, joined), return_when=asyncio.FIRST_COMPLETED)
    joined.cancel()
    try:
        yield worker
    finally:
        await soon(worker.stop(grace_s), 30)
        await soon(running, 30)
        await worker.redis_client.close()  # its reader stays a while for the next answer


async def is_asleep(redis: Any, worker: BaseWorker) -> bool:
    """Whether the worker waits for work in all its domains."""
    try:
        domains = list(worker._lines)
        scores = [await redis.zscore(KEYS.of("sleepers", domain), worker.worker_id) for domain in domains]
    except RedisError:
        return False
    return all(score is not None for score in scores)


async def go_over_children(client: BaseRedisClient, domain: str = DOMAIN) -> None:
    """What any worker does some seconds after actions that had sent others were cancelled."""
    parents = KEYS.of("cancelled_parents", domain)
    for parent in await client.redis_client.zrange(parents, 0, -1):
        await client.redis_client.zadd(parents, {parent: 0})
    while await go_on_cancelling(client.bus.engine, domain):
        pass


async def put_raw(redis: Any, action_id: str, payload: bytes, **more: Any) -> None:
    """Put an action in line through the engine, whatever its payload is."""
    fields: dict[str, Any] = {
        "action_type": "probe.echo",
        "tenant_id": "acme",
        "tier": "enterprise",
        "reply_to": "*",
        **more,
    }
    bus = Bus.of(redis, settings_for())
    await bus.engine.enqueue(DOMAIN, [NewAction(action_id, payload=payload, **fields)])


async def dead_letters(redis: Any, tenant: str = "acme", domain: str = DOMAIN) -> list[dict[str, str]]:
    """The dead letters of a tenant, oldest first."""
    entries = await redis.xrange(KEYS.of("dead", domain, tenant))
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]


async def stored_response(redis: Any, action_id: str, domain: str = DOMAIN) -> Any:
    return await redis.lindex(KEYS.response(domain, action_id), 0)


def make_client(redis: Any, name: str = "tester", **settings: Any) -> BaseRedisClient:
    return BaseRedisClient(name, redis, settings_for(**settings))


def connect(url: str, **options: Any) -> redis_asyncio.Redis:
    """A client as the `redis` fixture makes it."""
    retry = Retry(NoBackoff(), 0)
    return redis_asyncio.Redis.from_url(url, protocol=2, socket_timeout=10, retry=retry, **options)
