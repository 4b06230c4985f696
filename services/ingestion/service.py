"""The ingestion service: documents in, passages with vectors in the tenant's store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    ConfigurationError,
    DomainAction,
    InvalidResponse,
    Retry,
    handles,
)
from services.embedding.client import EmbeddingServiceClient
from services.embedding.models import Embeddings
from services.passages import PassageText, Stored, StoredDocument, TenantPassages

from .errors import TooManyDocuments
from .models import DeleteDocument, DocumentDeleted, DocumentProcessed, DocumentProgress, ProcessDocument
from .settings import IngestionSettings
from .splitter import Passage, split

_SPLIT_IN_THREAD_FROM = 50_000  # characters; about a millisecond of work


class IngestionService(BaseService):
    """Answers `ingestion.document.process` and `ingestion.document.delete`."""

    settings_class: ClassVar[type[IngestionSettings]] = IngestionSettings

    def __init__(
        self,
        *,
        app_settings: IngestionSettings,
        service_redis_client: BaseRedisClient | None = None,
        direct_redis_conn: Redis | None = None,
        embedding: EmbeddingServiceClient | None = None,
    ) -> None:
        super().__init__(
            app_settings=app_settings,
            service_redis_client=service_redis_client,
            direct_redis_conn=direct_redis_conn,
        )
        if direct_redis_conn is None:
            raise ConfigurationError("IngestionService stores passages: pass direct_redis_conn")
        self._settings = app_settings
        self._redis = direct_redis_conn
        self._embedding = embedding or EmbeddingServiceClient(
            app_settings.service_name, direct_redis_conn, app_settings
        )

    @handles("ingestion.document.process")
    async def process(self, data: ProcessDocument, action: DomainAction) -> DocumentProcessed:
        """Split, get vectors, store; repeating it changes nothing. Progress goes to the caller's callback
        queue.
        """
        store = self._store(action)
        if await store.count() >= self._settings.max_documents and not await store.has(data.document_id):
            raise TooManyDocuments(details={"max_documents": self._settings.max_documents})
        passages = await self._split(data.text)
        model, matrix = await self._vectors(data, passages, action)
        document = StoredDocument(
            document_id=data.document_id,
            title=data.title,
            revision=self._revision(data, model),
            created_ms=_created_ms(action),
            model=model,
            passages=[PassageText(p.start, p.end, p.text) for p in passages],
            matrix=matrix,
        )
        result = DocumentProcessed(
            status=await store.replace(document),
            document_id=data.document_id,
            revision=document.revision,
            passages=len(passages),
            characters=len(data.text),
        )
        if result.status is Stored.STORED:
            await self._notify(result, action)
        return result

    @handles("ingestion.document.delete")
    async def delete(self, data: DeleteDocument, action: DomainAction) -> DocumentDeleted:
        """Remove a document and all its passages."""
        deleted = await self._store(action).delete(data.document_id, _created_ms(action))
        return DocumentDeleted(document_id=data.document_id, deleted=deleted)

    def _store(self, action: DomainAction) -> TenantPassages:
        return TenantPassages(self._redis, environment=self._settings.environment, tenant_id=action.tenant_id)

    async def _split(self, text: str) -> list[Passage]:
        sizes = self._settings
        cut = partial(
            split,
            text,
            target=sizes.passage_target,
            maximum=sizes.passage_maximum,
            overlap=sizes.passage_overlap,
        )
        return cut() if len(text) < _SPLIT_IN_THREAD_FROM else await asyncio.to_thread(cut)

    async def _vectors(
        self, data: ProcessDocument, passages: list[Passage], action: DomainAction
    ) -> tuple[str, NDArray[np.float32]]:
        """(model, one row per passage), asked for in batches; after each the caller is told."""
        batches: list[Embeddings] = []
        size = self._settings.embedding_batch
        for first in range(0, len(passages), size):
            # The title gives a passage from the middle of a document its subject.
            texts = [f"{data.title}\n{passage.text}" for passage in passages[first : first + size]]
            batch = await self._embedding.embed(
                texts,
                action.tenant_id,
                session_id=action.session_id,
                timeout=self._settings.embedding_timeout_s,
            )
            if batch.count != len(texts):
                raise InvalidResponse(f"asked for {len(texts)} vectors, got {batch.count}")
            batches.append(batch)
            await self._report(data.document_id, first + len(texts), len(passages), action)
        if len({(batch.model, batch.dimension) for batch in batches}) != 1:
            raise Retry(reason="the embedding model changed between two batches of this document")
        return batches[0].model, np.concatenate([batch.matrix() for batch in batches])

    async def _report(self, document_id: str, done: int, total: int, action: DomainAction) -> None:
        if self.service_redis_client is None or not action.callback_action_type:
            return
        progress = DocumentProgress(document_id=document_id, passages_done=done, passages_total=total)
        await self.service_redis_client.send_callback(action, progress)

    async def _notify(self, result: DocumentProcessed, action: DomainAction) -> None:
        """Tell a downstream service, if one is configured; it answers nobody."""
        if not self._settings.notify_service or self.service_redis_client is None:
            return
        await self.service_redis_client.send_action_async(
            DomainAction(
                # The same id when this action runs twice, so the notification is sent once.
                action_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{action.action_id} processed")),
                action_type="ingestion.document.processed",
                target_service=self._settings.notify_service,
                tenant_id=action.tenant_id,
                session_id=action.session_id,
                data=result.model_dump(mode="json"),
            )
        )

    def _revision(self, data: ProcessDocument, model: str) -> str:
        """A digest of everything that decides what is stored."""
        sizes = (
            self._settings.passage_target,
            self._settings.passage_maximum,
            self._settings.passage_overlap,
        )
        content = json.dumps([model, sizes, data.title, data.text]).encode()
        return hashlib.blake2b(content, digest_size=16).hexdigest()


def _created_ms(action: DomainAction) -> int:
    return int(action.created_at.timestamp() * 1000)
