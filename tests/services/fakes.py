"""Stand-ins for what a service talks to, so that its own rules are tested without a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nooble_tasks import DomainAction, DomainActionResponse
from services.embedding import Embeddings, EmbeddingServiceClient, HashingProvider
from services.ingestion import IngestionServiceClient
from services.query import QueryServiceClient


class LocalEmbedding(EmbeddingServiceClient):
    """The embedding service without a queue between; remembers for whom it computed."""

    def __init__(self, dimension: int = 512) -> None:
        self.provider = HashingProvider(dimension)
        self.asked: list[tuple[str, list[str]]] = []  # tenant, texts

    async def embed(
        self, texts: Sequence[str], tenant_id: str, *, session_id: str | None = None, timeout: float = 30
    ) -> Embeddings:
        self.asked.append((tenant_id, list(texts)))
        return Embeddings.of(self.provider.model_name, self.provider.embed(texts))


class _Recording:
    """Keeps what would be sent; `request` and `send_action_pseudo_sync` answer `answer`."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.sent: list[tuple[str, DomainAction]] = []
        self.callbacks: list[tuple[DomainAction, Any]] = []
        self.callback_arguments: tuple[str | None, str | None] | None = None

    async def send_action_async(self, action: DomainAction) -> None:
        self.sent.append(("async", action))

    async def send_action_pseudo_sync(
        self, action: DomainAction, timeout: float = 30
    ) -> DomainActionResponse:
        self.sent.append(("pseudo_sync", action))
        return DomainActionResponse.succeeded(action, self.answer)

    async def request(self, action: DomainAction, timeout: float = 30) -> DomainActionResponse:
        self.sent.append(("request", action))
        return DomainActionResponse.succeeded(action, self.answer)

    async def send_action_async_with_callback(
        self,
        action: DomainAction,
        callback_event_name: str | None = None,
        callback_context: str | None = None,
    ) -> None:
        self.sent.append(("callback", action))
        self.callback_arguments = (callback_event_name, callback_context)

    async def send_callback(self, action: DomainAction, data: Any, *, success: bool = True) -> None:
        self.callbacks.append((action, data))


class RecordingEmbeddingClient(_Recording, EmbeddingServiceClient):
    """`EmbeddingServiceClient` without Redis."""


class RecordingIngestionClient(_Recording, IngestionServiceClient):
    """`IngestionServiceClient` without Redis; serves as a service's own client too."""


class RecordingQueryClient(_Recording, QueryServiceClient):
    """`QueryServiceClient` without Redis."""
