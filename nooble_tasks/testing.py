"""Testing your own handlers: without Redis, with a client that only notes, or on a server of the test.

A plug-in for pytest: put `pytest_plugins = ("nooble_tasks.testing",)` into your top `conftest.py` and ask for
the fixtures `recording_client` and `nooble_url`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from .actions import DomainAction, DomainActionResponse
from .callbacks import callback_for
from .client import BaseRedisClient
from .context import current_context, enter_attempt, use_context
from .embedded import EmbeddedServer
from .error_mapping import detail_from_exception
from .errors import InvalidAction
from .redis_manager import RedisManager
from .service import BaseService
from .settings import CommonAppSettings
from .worker import BaseWorker

__all__ = ["RecordingClient", "run_handler", "working_on"]


async def run_handler(
    service: BaseService,
    action: DomainAction | str,
    data: Any = None,
    *,
    tenant_id: str = "test_tenant",
    attempt: int = 1,
    timeout_s: float = 30.0,
    through_json: bool = True,
) -> Any:
    """What the handler returns, or the exception it raises: validated data, context, providers, no Redis.

    `through_json`: the data makes the way to JSON and back first, as it would to a worker.
    """
    if isinstance(action, str):
        action = DomainAction(action_type=action, tenant_id=tenant_id, data=data)
    elif data is not None:
        raise InvalidAction("give data with an action type, not with a DomainAction")
    if through_json:
        action = DomainAction.from_json(action.to_json())
    before = current_context()
    deadline = datetime.now(UTC) + timedelta(seconds=timeout_s)
    with use_context(before):
        enter_attempt(action, deadline=deadline, attempt=attempt)
        async with asyncio.timeout(timeout_s), service.providing():
            try:
                return await service.process_action(action)
            finally:
                await service.pools.close()


class RecordingClient(BaseRedisClient):
    """Sends nothing: keeps what was sent in `sent`, answers requests with what `answers` says.

    `answers` maps an action type to the data of the response, to an exception to raise, or to a function of
    the action that gives either.
    """

    def __init__(
        self, service_name: str = "test_service", answers: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        # Nothing here opens a connection: the manager's client connects at its first command.
        self.service_name = service_name
        self.settings = CommonAppSettings(service_name=service_name, **settings)
        self.answers = dict(answers or {})
        self.sent: list[DomainAction] = []

    def sent_types(self) -> list[str]:
        """The types of what was sent, in order."""
        return [action.action_type for action in self.sent]

    async def send_action_async(self, action: DomainAction) -> None:
        """Note it."""
        self._note(action)

    async def enqueue_action(self, action: DomainAction | str, data: Any = None, **options: Any) -> Any:
        """Note it; the result is its answer."""
        if isinstance(action, str):
            tenant_id = options.get("tenant_id") or getattr(current_context(), "tenant_id", "test_tenant")
            action = DomainAction(action_type=action, tenant_id=tenant_id, data=data)
        return _RecordedHandle(self, self._note(action))

    async def enqueue_actions(self, actions: Sequence[DomainAction], **options: Any) -> Any:
        """Note them, whenever they are due."""
        return [await self.enqueue_action(action) for action in actions]

    async def request(self, action: DomainAction, timeout: float = 30) -> DomainActionResponse:
        """Note it and answer."""
        return DomainActionResponse.succeeded(self._note(action), self.answer(action))

    async def send_action_pseudo_sync(
        self, action: DomainAction, timeout: float = 30
    ) -> DomainActionResponse | None:
        """Note it and answer; an exception becomes a failed response."""
        try:
            return await self.request(action, timeout)
        except Exception as error:
            return DomainActionResponse.failed(action, detail_from_exception(error))

    async def send_action_async_with_callback(
        self,
        action: DomainAction,
        callback_event_name: str | None = None,
        callback_context: str | None = None,
    ) -> None:
        """Note it, with the callback's type."""
        update = {"callback_action_type": callback_event_name or action.callback_action_type}
        self._note(action.model_copy(update=update))

    async def send_callback(self, action: DomainAction, data: Any, *, success: bool = True) -> None:
        """Note the callback, where `action` asks for one."""
        built = callback_for(action, self.service_name, data, success=success)
        if built is not None:
            self._note(built)

    async def close(self) -> None:
        """Nothing was opened."""

    def answer(self, action: DomainAction) -> Any:
        """What `answers` says to an action; None where it says nothing."""
        found = self.answers.get(action.action_type)
        found = found(action) if callable(found) and not isinstance(found, type) else found
        if isinstance(found, BaseException):
            raise found
        return found

    def _note(self, action: DomainAction) -> DomainAction:
        context = current_context()
        noted = context.inherit(action) if context is not None else action
        noted.to_json()  # what cannot be sent is found here as it would be there
        self.sent.append(noted)
        return noted


class _RecordedHandle:
    """What `enqueue_action` of a RecordingClient gives."""

    def __init__(self, client: RecordingClient, action: DomainAction) -> None:
        self.action = action
        self.action_id = action.action_id
        self.accepted = True
        self._client = client

    async def result(self, timeout: float = 30.0) -> Any:
        """The answer."""
        return self._client.answer(self.action)

    async def cancel(self) -> bool:
        """There is nothing to cancel."""
        return False


@asynccontextmanager
async def working_on(
    url: str, *services: type[BaseService], concurrency: int = 10, **settings: Any
) -> AsyncIterator[BaseRedisClient]:
    """A worker in this process for some services on a real server, and a client to send to it."""
    all_settings = [cls.make_settings(redis_url=url, **settings) for cls in services]
    async with RedisManager(all_settings[0]) as manager:
        redis = manager.get_client()
        client = BaseRedisClient("test_client", redis, all_settings[0])
        made = [
            cls(
                app_settings=own,
                service_redis_client=BaseRedisClient(own.service_name, redis, own),
                direct_redis_conn=redis,
            )
            for cls, own in zip(services, all_settings, strict=True)
        ]
        worker = BaseWorker(all_settings[0], redis, made, concurrency=concurrency)
        running = asyncio.create_task(worker.run())
        try:
            yield client
        finally:
            await worker.stop(0)
            await running
            await client.close()


try:
    import pytest
except ImportError:  # only its fixtures need it
    pass
else:

    @pytest.fixture
    def recording_client() -> RecordingClient:
        """A client that only notes what is sent."""
        return RecordingClient()

    @pytest.fixture(scope="session")
    def _nooble_server() -> Iterator[EmbeddedServer]:
        with EmbeddedServer(persist=False) as server:
            yield server

    @pytest.fixture
    async def nooble_url(_nooble_server: EmbeddedServer) -> str:
        """The address of an empty database on a server of this test run."""
        import redis.asyncio as redis_asyncio

        client = redis_asyncio.Redis.from_url(_nooble_server.url)
        await client.flushall()
        await client.aclose()
        return _nooble_server.url
