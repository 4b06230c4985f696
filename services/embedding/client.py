"""How other services ask for embeddings."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from nooble_tasks import BaseRedisClient, DomainAction, DomainActionResponse

from .models import Embeddings


class EmbeddingServiceClient(BaseRedisClient):
    """Requests to the embedding service, for one tenant at a time."""

    TARGET_SERVICE_NAME = "embedding_service"

    async def get_embeddings(
        self, texts: list[str], tenant_id: str, session_id: str | None = None
    ) -> DomainActionResponse | None:
        """The service's response, its data shaped as `Embeddings`; None when none came in time."""
        return await self.send_action_pseudo_sync(self._generate(texts, tenant_id, session_id))

    async def embed(
        self, texts: Sequence[str], tenant_id: str, *, session_id: str | None = None, timeout: float = 30
    ) -> Embeddings:
        """The vectors themselves. Raises `ActionTimeout`, `ActionFailed`, `RateLimited`, …"""
        response = await self.request(self._generate(list(texts), tenant_id, session_id), timeout)
        return Embeddings.model_validate(response.data)

    async def notify_model_updated(self, model_name: str, tenant_id: str) -> None:
        """Tell the service that a model changed; nobody answers."""
        action = DomainAction(
            action_id=str(uuid.uuid4()),
            action_type="embedding.model.updated_notification",
            target_service=self.TARGET_SERVICE_NAME,
            tenant_id=tenant_id,
            data={"model_name": model_name},
        )
        await self.send_action_async(action)

    def _generate(self, texts: list[str], tenant_id: str, session_id: str | None) -> DomainAction:
        return DomainAction(
            action_id=str(uuid.uuid4()),
            action_type="embedding.text.generate",
            target_service=self.TARGET_SERVICE_NAME,
            tenant_id=tenant_id,
            session_id=session_id,
            data={"texts": texts},
        )
