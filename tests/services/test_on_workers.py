"""The three services on workers: every pattern over the real queue, from the clients' side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionFailed, BaseWorker, CommonAppSettings
from services.embedding import Embeddings, EmbeddingService, EmbeddingServiceClient, EmbeddingSettings
from services.ingestion import (
    DocumentProcessed,
    DocumentProgress,
    IngestionService,
    IngestionServiceClient,
    IngestionSettings,
)
from services.passages import Stored
from services.query import QueryService, QueryServiceClient, QuerySettings

TEXT = "\n\n".join(
    f"Chapter {n} is about topic number {n}. " + "It explains it at length. " * 10 for n in range(8)
)


class Demo:
    """Clients of the running services."""

    def __init__(self, redis: Redis) -> None:
        settings = CommonAppSettings(service_name="demo_service")
        self.embedding = EmbeddingServiceClient("demo_service", redis, settings)
        self.ingestion = IngestionServiceClient("demo_service", redis, settings)
        self.query = QueryServiceClient("demo_service", redis, settings)


@pytest.fixture
async def demo(redis: Redis) -> AsyncIterator[Demo]:
    ingestion, query = IngestionSettings(embedding_batch=2, notify_service="query_service"), QuerySettings()
    ingestion_client = IngestionServiceClient(ingestion.service_name, redis, ingestion)
    services = [
        EmbeddingService(app_settings=EmbeddingSettings()),
        IngestionService(
            app_settings=ingestion, service_redis_client=ingestion_client, direct_redis_conn=redis
        ),
        QueryService(app_settings=query, direct_redis_conn=redis),
    ]
    worker = BaseWorker(CommonAppSettings(service_name="all_services"), redis, services)
    running = asyncio.create_task(worker.run())
    clients = Demo(redis)
    yield clients
    await worker.stop()
    await running
    await clients.query.close()


async def test_a_document_is_ingested_with_progress_and_then_found(demo: Demo) -> None:
    action = await demo.ingestion.ingest_document("book", "A book", TEXT, "acme", callback_context="run-1")
    assert action.callback_queue_name is not None
    callbacks = []
    async for callback in demo.ingestion.listen_callbacks(action.callback_queue_name, timeout=10):
        callbacks.append(callback)
        if callback.data["status"] != "processing":
            break
    assert {c.action_type for c in callbacks} == {"ingestion.document.progress"}
    assert {c.correlation_id for c in callbacks} == {action.correlation_id}
    *progress, last = [c.data for c in callbacks]
    result = DocumentProcessed.model_validate(last)
    steps = [DocumentProgress.model_validate(p).passages_done for p in progress]
    assert result.status is Stored.STORED
    assert len(steps) > 1
    assert steps == sorted(steps)
    assert steps[-1] == result.passages

    found = await demo.query.search("What is chapter 5 about?", "acme", top_k=3)
    assert "Chapter 5 is about topic number 5" in found.passages[0].text
    assert found.searched == result.passages
    assert (await demo.query.search("What is chapter 5 about?", "rival")).passages == []


async def test_waiting_for_a_document_and_deleting_it(demo: Demo) -> None:
    result = await demo.ingestion.ingest_and_wait("note", "A note", "Remember the milk.", "acme")
    assert (result.passages, result.status) == (1, Stored.STORED)
    assert [p.text for p in (await demo.query.search("milk", "acme")).passages] == ["Remember the milk."]
    assert await demo.ingestion.delete_document("note", "acme") is True
    assert (await demo.query.search("milk", "acme")).passages == []


async def test_embeddings_as_the_documents_ask_for_them(demo: Demo) -> None:
    await demo.embedding.notify_model_updated("char-ngram-hashing-512", "acme")
    response = await demo.embedding.get_embeddings(["one", "two"], "acme", session_id="session-1")
    assert response is not None
    assert response.success
    assert response.data_as(Embeddings).matrix().shape == (2, 512)


async def test_a_bad_request_is_answered_with_what_is_wrong(demo: Demo) -> None:
    with pytest.raises(ActionFailed, match="white space"):
        await demo.ingestion.ingest_and_wait("note", "A note", "  \n", "acme")
    refused = await demo.embedding.get_embeddings([], "acme")
    assert refused is not None
    assert refused.error is not None
    assert "texts" in refused.error.message
