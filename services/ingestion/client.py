"""How other services hand in documents."""

from __future__ import annotations

import uuid

from nooble_tasks import BaseRedisClient, DomainAction

from .models import DocumentDeleted, DocumentProcessed


class IngestionServiceClient(BaseRedisClient):
    """Requests to the ingestion service, for one tenant at a time."""

    TARGET_SERVICE_NAME = "ingestion_service"

    async def ingest_document(
        self,
        document_id: str,
        title: str,
        text: str,
        tenant_id: str,
        *,
        callback_event_name: str = "ingestion.document.progress",
        callback_context: str | None = None,
        session_id: str | None = None,
    ) -> DomainAction:
        """Hand in a document and go on; progress and the result arrive as callbacks.

        Returns the action that was sent: its `callback_queue_name` is the list to listen to. Each callback is
        a `DomainAction` of type `callback_event_name` with the same correlation id, its data shaped as
        `DocumentProgress`, and the last one as `DocumentProcessed` (told apart by `status`).
        """
        data = {"document_id": document_id, "title": title, "text": text}
        action = self._action("ingestion.document.process", data, tenant_id, session_id)
        await self.send_action_async_with_callback(action, callback_event_name, callback_context)
        return action

    async def ingest_and_wait(
        self,
        document_id: str,
        title: str,
        text: str,
        tenant_id: str,
        *,
        session_id: str | None = None,
        timeout: float = 60,
    ) -> DocumentProcessed:
        """Hand in a document and wait until it can be searched. Raises `ActionTimeout`, `ActionFailed`, …"""
        data = {"document_id": document_id, "title": title, "text": text}
        action = self._action("ingestion.document.process", data, tenant_id, session_id)
        response = await self.request(action, timeout)
        return DocumentProcessed.model_validate(response.data)

    async def delete_document(
        self, document_id: str, tenant_id: str, *, session_id: str | None = None, timeout: float = 30
    ) -> bool:
        """Remove a document and wait; False if there was none. Raises `ActionTimeout`, `ActionFailed`, …"""
        action = self._action(
            "ingestion.document.delete", {"document_id": document_id}, tenant_id, session_id
        )
        response = await self.request(action, timeout)
        return DocumentDeleted.model_validate(response.data).deleted

    def _action(
        self, action_type: str, data: dict[str, str], tenant_id: str, session_id: str | None
    ) -> DomainAction:
        return DomainAction(
            action_id=str(uuid.uuid4()),
            action_type=action_type,
            target_service=self.TARGET_SERVICE_NAME,
            tenant_id=tenant_id,
            session_id=session_id,
            data=data,
        )
