"""The ingestion service: split, ask for vectors, store, tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from nooble_tasks import ActionTimeout, ConfigurationError, DomainAction, InvalidResponse, Retry
from services.embedding import Embeddings
from services.ingestion import (
    DocumentDeleted,
    DocumentProcessed,
    DocumentProgress,
    IngestionService,
    IngestionSettings,
    ProcessDocument,
    TooManyDocuments,
)
from services.ingestion.models import MAX_DOCUMENT_CHARACTERS
from services.passages import Stored, TenantPassages
from tests.services.fakes import LocalEmbedding, RecordingIngestionClient

PARAGRAPHS = [
    f"Paragraph {n} tells of subject number {n}. " + "It says something about it. " * 9 for n in range(12)
]
TEXT = "\n\n".join(PARAGRAPHS)


class Scene:
    """A service with its neighbours, and what they saw."""

    def __init__(self, redis: Redis, embedding: LocalEmbedding | None = None, **settings: Any) -> None:
        self.settings = IngestionSettings(**{"environment": "test", **settings})
        self.embedding = embedding or LocalEmbedding()
        self.client = RecordingIngestionClient()
        self.service = IngestionService(
            app_settings=self.settings,
            service_redis_client=self.client,
            direct_redis_conn=redis,
            embedding=self.embedding,
        )
        self.store = TenantPassages(redis, environment="test", tenant_id="acme")

    async def process(self, text: str = TEXT, **fields: Any) -> DocumentProcessed:
        result = await self.service.process_action(upload(text, **fields))
        assert isinstance(result, DocumentProcessed)
        return result


def upload(text: str = TEXT, document_id: str = "doc", **fields: Any) -> DomainAction:
    data = {"document_id": document_id, "title": "A title", "text": text}
    return DomainAction(
        action_type="ingestion.document.process", **{"tenant_id": "acme", "data": data, **fields}
    )


async def test_a_document_becomes_passages_with_their_vectors(redis: Redis) -> None:
    scene = Scene(redis)
    result = await scene.process()
    vectors = (await scene.store.vectors(["doc"]))["doc"]
    stored = (await scene.store.texts({"doc": list(range(result.passages))}))["doc"]
    assert (result.status, result.document_id, result.characters) == (Stored.STORED, "doc", len(TEXT))
    assert result.revision == vectors.revision == stored.revision
    assert len(stored.passages) == result.passages > 3
    assert all(TEXT[p.start : p.end] == p.text for p in stored.passages.values())
    texts = [f"A title\n{stored.passages[n].text}" for n in range(result.passages)]
    np.testing.assert_array_equal(vectors.matrix, scene.embedding.provider.embed(texts))


async def test_vectors_are_asked_for_in_batches_for_the_same_tenant(redis: Redis) -> None:
    scene = Scene(redis, embedding_batch=2)
    result = await scene.process()
    sizes = [len(texts) for _, texts in scene.embedding.asked]
    assert sum(sizes) == result.passages
    assert set(sizes[:-1]) == {2}
    assert {tenant for tenant, _ in scene.embedding.asked} == {"acme"}


async def test_the_tenant_is_the_actions_and_nobody_elses(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.process(tenant_id="other")
    assert await scene.store.count() == 0
    assert await TenantPassages(redis, environment="test", tenant_id="other").count() == 1
    assert {tenant for tenant, _ in scene.embedding.asked} == {"other"}


async def test_progress_goes_to_the_callback_queue(redis: Redis) -> None:
    scene = Scene(redis, embedding_batch=3)
    action = upload(callback_queue_name="nooble:callbacks", callback_action_type="demo.document.progress")
    result = await scene.service.process_action(action)
    assert all(sent_for is action for sent_for, _ in scene.client.callbacks)
    progress = [data for _, data in scene.client.callbacks]
    assert all(isinstance(data, DocumentProgress) for data in progress)
    done = [data.passages_done for data in progress]
    assert done == sorted(set(done))
    assert done[-1] == result.passages
    assert {(data.status, data.passages_total) for data in progress} == {("processing", result.passages)}


async def test_without_a_callback_nobody_is_told_of_progress(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.process()
    assert (scene.client.callbacks, scene.client.sent) == ([], [])


async def test_processing_twice_is_processing_once(redis: Redis) -> None:
    scene = Scene(redis)
    action = upload()
    first = await scene.service.process_action(action)
    assert await scene.service.process_action(action) == first
    assert await scene.store.revisions() == {"doc": first.revision}


async def test_the_same_id_replaces_the_document(redis: Redis) -> None:
    scene = Scene(redis)
    first = await scene.process()
    second = await scene.process("Something shorter.")
    assert first.revision != second.revision
    stored = (await scene.store.texts({"doc": list(range(first.passages))}))["doc"]
    assert [passage.text for passage in stored.passages.values()] == ["Something shorter."]


async def test_an_overtaken_upload_is_superseded(redis: Redis) -> None:
    scene = Scene(redis, notify_service="query_service")
    await scene.process("new text")
    sent = len(scene.client.sent)
    late = await scene.process("old text", created_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert late.status is Stored.SUPERSEDED
    assert (await scene.store.texts({"doc": [0]}))["doc"].passages[0].text == "new text"
    assert len(scene.client.sent) == sent, "nothing was stored, so there is nothing to tell"


async def test_a_downstream_service_is_told_once(redis: Redis) -> None:
    scene = Scene(redis, notify_service="query_service")
    action = upload()
    result = await scene.service.process_action(action)
    await scene.service.process_action(action)
    (pattern, notice), (_, again) = scene.client.sent
    assert pattern == "async"
    assert (notice.action_type, notice.domain, notice.tenant_id) == (
        "ingestion.document.processed",
        "query",
        "acme",
    )
    assert DocumentProcessed.model_validate(notice.data) == result
    assert notice.action_id == again.action_id, "the queue drops the second one"


async def test_deleting(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.process()
    for expected in (True, False):
        action = DomainAction(
            action_type="ingestion.document.delete", tenant_id="acme", data={"document_id": "doc"}
        )
        assert await scene.service.process_action(action) == DocumentDeleted(
            document_id="doc", deleted=expected
        )
    assert await scene.store.count() == 0


async def test_a_tenant_cannot_store_without_end(redis: Redis) -> None:
    scene = Scene(redis, max_documents=2)
    await scene.process(document_id="one")
    await scene.process(document_id="two")
    with pytest.raises(TooManyDocuments, match="delete some"):
        await scene.process(document_id="three")
    await scene.process("replacing is still possible", document_id="two")
    assert await scene.store.count() == 2


async def test_without_vectors_nothing_is_stored(redis: Redis) -> None:
    class Failing(LocalEmbedding):
        async def embed(self, texts: Sequence[str], *args: Any, **options: Any) -> Embeddings:
            if self.asked:
                raise ActionTimeout("no vectors")
            return await super().embed(texts, *args, **options)

    scene = Scene(redis, Failing(), embedding_batch=2)
    with pytest.raises(ActionTimeout):
        await scene.process()
    assert (await scene.store.count(), await scene.store.version()) == (0, 0)


async def test_a_wrong_number_of_vectors_is_refused(redis: Redis) -> None:
    class Short(LocalEmbedding):
        async def embed(self, texts: Sequence[str], *args: Any, **options: Any) -> Embeddings:
            return await super().embed(list(texts)[1:], *args, **options)

    with pytest.raises(InvalidResponse, match="vectors"):
        await Scene(redis, Short()).process()


async def test_a_model_change_between_batches_asks_for_another_attempt(redis: Redis) -> None:
    class Changing(LocalEmbedding):
        async def embed(self, texts: Sequence[str], *args: Any, **options: Any) -> Embeddings:
            answer = await super().embed(texts, *args, **options)
            return answer.model_copy(update={"model": f"model-{len(self.asked)}"})

    scene = Scene(redis, Changing(), embedding_batch=2)
    with pytest.raises(Retry, match="model changed"):
        await scene.process()
    assert await scene.store.count() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"document_id": ""},
        {"document_id": "a\nb"},
        {"document_id": "x" * 257},
        {"title": ""},
        {"title": "x" * 301},
        {"text": ""},
        {"text": " \n "},
        {"text": "x" * (MAX_DOCUMENT_CHARACTERS + 1)},
        {"tenant_id": "other"},
    ],
    ids=str,
)
def test_a_bad_document_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ProcessDocument.model_validate({"document_id": "doc", "title": "title", "text": "text", **change})


@pytest.mark.parametrize(
    "sizes", [{"passage_overlap": 300}, {"passage_target": 900}, {"passage_maximum": 500}]
)
def test_impossible_passage_sizes_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="passage_target"):
        IngestionSettings(**sizes)


def test_the_service_needs_a_connection() -> None:
    with pytest.raises(ConfigurationError, match="direct_redis_conn"):
        IngestionService(app_settings=IngestionSettings())


class TestClient:
    """Every request names its service, type and tenant."""

    async def test_ingest_document_names_the_callback(self) -> None:
        client = RecordingIngestionClient()
        action = await client.ingest_document("doc", "title", "text", "acme", callback_context="run-1")
        assert client.sent == [("callback", action)]
        assert client.callback_arguments == ("ingestion.document.progress", "run-1")
        assert action.action_type == "ingestion.document.process"
        assert (action.domain, action.tenant_id) == ("ingestion", "acme")
        assert action.data == {"document_id": "doc", "title": "title", "text": "text"}

    async def test_ingest_and_wait_returns_the_result(self) -> None:
        result = DocumentProcessed(
            status=Stored.STORED, document_id="doc", revision="r", passages=1, characters=4
        )
        client = RecordingIngestionClient(result.model_dump(mode="json"))
        assert await client.ingest_and_wait("doc", "title", "text", "acme") == result

    async def test_delete_document(self) -> None:
        client = RecordingIngestionClient({"document_id": "doc", "deleted": True})
        assert await client.delete_document("doc", "acme") is True
        [(pattern, action)] = client.sent
        assert (pattern, action.action_type, action.data) == (
            "request",
            "ingestion.document.delete",
            {"document_id": "doc"},
        )
