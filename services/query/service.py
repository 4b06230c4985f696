"""The query service: a question in, the nearest passages of the same tenant out."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, BaseService, ConfigurationError, DomainAction, handles
from services.embedding.client import EmbeddingServiceClient
from services.ingestion.models import DocumentProcessed
from services.passages import TenantPassages

from .index import Hit, IndexCache, TenantIndex
from .models import FoundPassage, FoundPassages, SearchPassages
from .settings import QuerySettings

_SEARCH_IN_THREAD_FROM = 10_000  # passages; about a millisecond of work


class QueryService(BaseService):
    """Answers `query.search`; takes note of `ingestion.document.processed`."""

    settings_class: ClassVar[type[QuerySettings]] = QuerySettings

    def __init__(
        self,
        *,
        app_settings: QuerySettings,
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
            raise ConfigurationError("QueryService reads stored passages: pass direct_redis_conn")
        self._settings = app_settings
        self._redis = direct_redis_conn
        self._embedding = embedding or EmbeddingServiceClient(
            app_settings.service_name, direct_redis_conn, app_settings
        )
        self._indexes = IndexCache(app_settings.index_cache_bytes)

    @handles("query.search")
    async def search(self, data: SearchPassages, action: DomainAction) -> FoundPassages:
        """The nearest passages by cosine. What was stored before the question is found; another tenant's
        never is.
        """
        store = self._store(action)
        if await store.version() == 0:
            return FoundPassages(passages=[], searched=0)  # nothing was ever stored: no vector needed
        question = await self._embedding.embed(
            [data.question],
            action.tenant_id,
            session_id=action.session_id,
            timeout=self._settings.embedding_timeout_s,
        )
        vector = question.matrix()[0]
        passages, searched = await self._search(store, data, question.model, vector)
        return FoundPassages(passages=passages, searched=searched, model=question.model)

    @handles("ingestion.document.processed")
    async def document_processed(self, data: DocumentProcessed, action: DomainAction) -> None:
        """Load the tenant's vectors ahead of the next question. Nothing depends on it."""
        index = await self._indexes.current(self._store(action))
        self._logger.debug("document %s can be searched; %d passages", data.document_id, len(index))

    async def _search(
        self, store: TenantPassages, data: SearchPassages, model: str, vector: NDArray[np.float32]
    ) -> tuple[list[FoundPassage], int]:
        for _ in range(2):
            index = await self._indexes.current(store)
            hits = await self._hits(index, data, model, vector)
            found = await self._with_texts(store, hits)
            if len(found) == len(hits):
                break
            # A document was replaced or deleted between its vectors and its texts: once more.
        return found, len(index)

    @staticmethod
    async def _hits(
        index: TenantIndex, data: SearchPassages, model: str, vector: NDArray[np.float32]
    ) -> list[Hit]:
        search = partial(
            index.search,
            model,
            vector,
            top_k=data.top_k,
            min_score=data.min_score,
            document_ids=data.document_ids,
        )
        return search() if len(index) < _SEARCH_IN_THREAD_FROM else await asyncio.to_thread(search)

    @staticmethod
    async def _with_texts(store: TenantPassages, hits: list[Hit]) -> list[FoundPassage]:
        """The hits whose passage is still the one whose vector was compared."""
        wanted: dict[str, list[int]] = {}
        for hit in hits:
            wanted.setdefault(hit.document_id, []).append(hit.number)
        texts = await store.texts(wanted)
        found: list[FoundPassage] = []
        for hit in hits:
            document = texts.get(hit.document_id)
            if document is None or document.revision != hit.revision or hit.number not in document.passages:
                continue
            passage = document.passages[hit.number]
            found.append(
                FoundPassage(
                    document_id=hit.document_id,
                    title=document.title,
                    number=hit.number,
                    start=passage.start,
                    end=passage.end,
                    text=passage.text,
                    score=hit.score,
                )
            )
        return found

    def _store(self, action: DomainAction) -> TenantPassages:
        return TenantPassages(self._redis, environment=self._settings.environment, tenant_id=action.tenant_id)
