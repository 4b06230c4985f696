"""The names users rely on: all of them importable, with the parameters that were promised."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

import nooble_tasks
from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    BaseWorker,
    CommonAppSettings,
    DomainAction,
    DomainActionResponse,
    ErrorDetail,
    ExecutionContext,
    QueueManager,
    RedisManager,
    RedisStateManager,
)
from tests.nooble_tasks.support import settings_for, soon, working

NOT_YET = {"call_service", "check_service_health", "create_error_response", "ServiceError"}  # HTTP

NAMES = {
    "ActionHandle",
    "ActionProcessor",
    "BaseRedisClient",
    "BaseService",
    "BaseWorker",
    "CommonAppSettings",
    "DomainAction",
    "DomainActionResponse",
    "DomainQueueManager",
    "ErrorDetail",
    "ExecutionContext",
    "QueueManager",
    "RedisManager",
    "RedisStateManager",
    "Settings",
    "enqueue_action",
    "get_redis_client",
    "handles",
    "setup_error_handling",
}


def parameters(call: Any) -> list[str]:
    """Names of a callable's parameters, without self."""
    return [name for name in inspect.signature(call).parameters if name != "self"]


def test_every_name_is_there() -> None:
    assert set(nooble_tasks.__all__) >= NAMES
    assert not set(nooble_tasks.__all__) & NOT_YET, "it is there now: take it off the list"
    assert nooble_tasks.DomainQueueManager is QueueManager
    assert nooble_tasks.Settings is CommonAppSettings


@pytest.mark.parametrize(
    ("call", "first"),
    [
        (BaseRedisClient, ["service_name", "redis_client", "settings"]),
        (BaseRedisClient.send_action_async, ["action"]),
        (BaseRedisClient.send_action_pseudo_sync, ["action", "timeout"]),
        (
            BaseRedisClient.send_action_async_with_callback,
            ["action", "callback_event_name", "callback_context"],
        ),
        (BaseRedisClient.request, ["action", "timeout"]),
        (BaseService, ["app_settings", "service_redis_client", "direct_redis_conn"]),
        (BaseWorker, ["app_settings", "async_redis_conn", "service_instance", "consumer_id_suffix"]),
        (RedisStateManager, ["redis_conn", "state_model", "app_settings"]),
        (RedisManager, ["settings"]),
        (QueueManager.get_service_action_stream, ["service"]),
    ],
)
def test_the_promised_parameters_come_first(call: Any, first: list[str]) -> None:
    assert parameters(call)[: len(first)] == first


def test_fields() -> None:
    assert set(DomainAction.model_fields) >= {
        *("action_id", "action_type", "tenant_id", "tenant_tier", "session_id", "task_id"),
        *("origin_service", "target_service", "correlation_id", "trace_id"),
        *("callback_queue_name", "callback_action_type", "data", "metadata"),
        *("deadline", "created_at", "idempotency_key"),
    }
    assert set(DomainActionResponse.model_fields) >= {"success", "data", "error", "action_id", "tenant_id"}
    assert list(ErrorDetail.model_fields) == ["type", "code", "message", "details", "retryable"]
    assert set(ExecutionContext.__dataclass_fields__) >= {
        *("tenant_id", "tier", "session_id", "task_id", "agent_id", "conversation_id", "collection_id"),
        *("trace_id", "deadline"),
    }


def test_worker_attributes() -> None:
    for name in ("run", "stop", "_ensure_consumer_group_exists", "_process_action_loop", "_handle_action"):
        assert inspect.iscoroutinefunction(getattr(BaseWorker, name))


class HacerAlgo(BaseModel):
    """What the logic service expects."""

    texto: str = ""


class LogicService(BaseService):
    """As in the source documents: one `process_action`, its data validated by hand."""

    async def process_action(self, action: DomainAction) -> Any:
        """Answer one type, take note of another, refuse the rest."""
        self._logger.info("processing %s", action.action_type)
        if action.action_type == "mi_servicio.accion.hacer_algo":
            return {"status": "done", "detail": HacerAlgo(**action.data).texto}
        if action.action_type == "mi_servicio.accion.notificar":
            return None
        raise NotImplementedError(f"not supported: {action.action_type}")


class LogicWorker(BaseWorker):
    """As in the source documents: delegates every action to its service."""

    async def _handle_action(self, action: DomainAction) -> Any:
        return await self.service.process_action(action)


async def test_the_documents_service_worker_and_client(redis: Redis) -> None:
    settings = settings_for("mi_servicio")
    service = LogicService(app_settings=settings, direct_redis_conn=redis)
    client = BaseRedisClient("caller_service", redis, settings)

    def ask(verb: str) -> DomainAction:
        return DomainAction(
            action_id=f"id-{verb}",
            action_type=f"mi_servicio.accion.{verb}",
            target_service="mi_servicio",
            tenant_id="some_tenant",
            data={"texto": "hola"},
        )

    async with working(redis, service, kind=LogicWorker, consumer_id_suffix="instance1") as worker:
        assert worker.service is service
        assert worker.queue_manager.get_stream("mi_servicio", "t", "free") == "mi_servicio:t:free"
        response = await soon(client.send_action_pseudo_sync(ask("hacer_algo")))
        assert response is not None
        assert (response.success, response.data) == (True, {"status": "done", "detail": "hola"})
        nothing = await soon(client.send_action_pseudo_sync(ask("notificar")))
        assert nothing is not None
        assert (nothing.success, nothing.data) == (True, None)
        refused = await soon(client.send_action_pseudo_sync(ask("otra")))
        assert refused is not None
        assert refused.error is not None
        assert str(refused.error) == refused.error["message"] == "not supported: mi_servicio.accion.otra"
    await client.close()
