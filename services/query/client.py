"""How other services ask questions."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from nooble_tasks import BaseRedisClient, DomainAction

from .models import FoundPassages


class QueryServiceClient(BaseRedisClient):
    """Requests to the query service, for one tenant at a time."""

    TARGET_SERVICE_NAME = "query_service"

    async def search(
        self,
        question: str,
        tenant_id: str,
        *,
        top_k: int = 5,
        min_score: float = -1.0,
        document_ids: Sequence[str] | None = None,
        session_id: str | None = None,
        timeout: float = 30,
    ) -> FoundPassages:
        """The nearest passages. Raises `ActionTimeout`, `ActionFailed`, `RateLimited`, …"""
        action = DomainAction(
            action_id=str(uuid.uuid4()),
            action_type="query.search",
            target_service=self.TARGET_SERVICE_NAME,
            tenant_id=tenant_id,
            session_id=session_id,
            data={
                "question": question,
                "top_k": top_k,
                "min_score": min_score,
                "document_ids": None if document_ids is None else list(document_ids),
            },
        )
        response = await self.request(action, timeout)
        return FoundPassages.model_validate(response.data)
