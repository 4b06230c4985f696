"""The query service: the nearest passages, of the caller's tenant only."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from nooble_tasks import ConfigurationError, DomainAction
from services.ingestion import IngestionService, IngestionSettings
from services.passages import FoundText, TenantPassages
from services.query import FoundPassages, QueryService, QuerySettings, SearchPassages
from services.query.models import MAX_TOP_K
from tests.services.fakes import LocalEmbedding, RecordingQueryClient

ANIMALS = "Cats sleep most of the day. They hunt mice at night and purr when they are content."
PLANETS = "Jupiter is the largest planet of the solar system. Its great red spot is a storm."
SECRET = "The secret password of this company is swordfish, and nobody else may ever read it."


class Scene:
    """Ingestion and query over one store and one embedding model."""

    def __init__(self, redis: Redis) -> None:
        self.embedding = LocalEmbedding()
        self.ingestion = IngestionService(
            app_settings=IngestionSettings(environment="test"),
            direct_redis_conn=redis,
            embedding=self.embedding,
        )
        self.query = QueryService(
            app_settings=QuerySettings(environment="test"), direct_redis_conn=redis, embedding=self.embedding
        )

    async def ingest(self, document_id: str, text: str, tenant_id: str = "acme") -> None:
        data = {"document_id": document_id, "title": f"About {document_id}", "text": text}
        await self.ingestion.process_action(
            DomainAction(action_type="ingestion.document.process", tenant_id=tenant_id, data=data)
        )

    async def search(self, question: str, tenant_id: str = "acme", **options: Any) -> FoundPassages:
        result = await self.query.process_action(
            DomainAction(
                action_type="query.search", tenant_id=tenant_id, data={"question": question, **options}
            )
        )
        assert isinstance(result, FoundPassages)
        return result


async def test_the_nearest_passage_comes_first(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.ingest("animals", ANIMALS)
    await scene.ingest("planets", PLANETS)
    found = await scene.search("Which planet is the largest?")
    best, other = found.passages
    assert (best.document_id, best.title, best.number) == ("planets", "About planets", 0)
    assert best.text == PLANETS[best.start : best.end] == PLANETS
    assert 1 >= best.score > other.score
    assert (found.searched, found.model) == (2, "char-ngram-hashing-512")


async def test_another_tenants_passages_are_never_found(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.ingest("secrets", SECRET, "acme")
    await scene.ingest("planets", PLANETS, "rival")
    for question in (SECRET, "secret password", "swordfish"):
        for options in ({}, {"top_k": MAX_TOP_K}, {"document_ids": ["secrets", "planets"]}):
            found = await scene.search(question, "rival", **options)
            assert [passage.document_id for passage in found.passages] == ["planets"]
            assert found.searched == 1
    assert (await scene.search(SECRET, "rival", document_ids=["secrets"])).passages == []
    assert (await scene.search(SECRET, "nobody")).passages == []
    assert (await scene.search("swordfish", "acme")).passages[0].text == SECRET


async def test_the_same_document_id_of_two_tenants_is_two_documents(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.ingest("doc", ANIMALS, "acme")
    await scene.ingest("doc", PLANETS, "rival")
    assert [p.text for p in (await scene.search("cats", "acme")).passages] == [ANIMALS]
    assert [p.text for p in (await scene.search("cats", "rival")).passages] == [PLANETS]


async def test_a_tenant_without_documents_needs_no_vector(redis: Redis) -> None:
    scene = Scene(redis)
    assert await scene.search("anything") == FoundPassages(passages=[], searched=0)
    assert scene.embedding.asked == []


async def test_the_vector_is_asked_for_in_the_tenants_name(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.ingest("animals", ANIMALS)
    await scene.search("cats?")
    assert scene.embedding.asked[-1] == ("acme", ["cats?"])


async def test_changes_are_seen_by_the_next_question(redis: Redis) -> None:
    scene = Scene(redis)
    await scene.ingest("doc", ANIMALS)
    assert (await scene.search("planet")).passages[0].text == ANIMALS
    await scene.ingest("doc", PLANETS)
    assert [p.text for p in (await scene.search("planet")).passages] == [PLANETS]
    await scene.ingestion.process_action(
        DomainAction(action_type="ingestion.document.delete", tenant_id="acme", data={"document_id": "doc"})
    )
    assert (await scene.search("planet")).passages == []


async def test_the_result_can_be_narrowed(redis: Redis) -> None:
    scene = Scene(redis)
    for n in range(5):
        await scene.ingest(f"animals-{n}", f"{ANIMALS} Note {n}.")
    await scene.ingest("planets", PLANETS)
    assert len((await scene.search("cats", top_k=2)).passages) == 2
    chosen = (await scene.search("cats", document_ids=["animals-3", "planets"])).passages
    assert [p.document_id for p in chosen] == ["animals-3", "planets"]
    best = (await scene.search(ANIMALS, top_k=MAX_TOP_K)).passages
    cut = (best[0].score + best[-1].score) / 2
    assert {p.document_id for p in (await scene.search(ANIMALS, min_score=cut)).passages} >= {"animals-0"}
    assert all(p.score >= cut for p in (await scene.search(ANIMALS, min_score=cut)).passages)


async def test_a_document_replaced_during_the_search_is_not_mixed(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of one revision and texts of another would show a passage that has nothing to do with its
    score.
    """
    scene = Scene(redis)
    await scene.ingest("doc", ANIMALS)
    read_texts = TenantPassages.texts
    changes = [PLANETS, None]

    async def texts(store: TenantPassages, wanted: dict[str, list[int]]) -> dict[str, FoundText]:
        change = changes.pop(0)
        if change:
            await scene.ingest("doc", change)
        return await read_texts(store, wanted)

    monkeypatch.setattr(TenantPassages, "texts", texts)
    found = (await scene.search("What do cats do?")).passages
    assert changes == []
    assert [p.text for p in found] == [PLANETS]
    expected = scene.embedding.provider.embed(["What do cats do?", f"About doc\n{PLANETS}"])
    assert found[0].score == pytest.approx(float(expected[0] @ expected[1]), abs=1e-6)


async def test_the_notification_loads_the_vectors_ahead(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(redis)
    await scene.ingest("doc", ANIMALS)
    data = {"status": "stored", "document_id": "doc", "revision": "r", "passages": 1, "characters": 9}
    notice = DomainAction(action_type="ingestion.document.processed", tenant_id="acme", data=data)
    assert await scene.query.process_action(notice) is None

    async def nothing_to_read(*_: object) -> dict[str, Any]:
        raise AssertionError("the vectors should be here already")

    monkeypatch.setattr(TenantPassages, "vectors", nothing_to_read)
    assert len((await scene.search("cats")).passages) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"question": ""},
        {"question": " \n"},
        {"question": "x" * 4_001},
        {"top_k": 0},
        {"top_k": MAX_TOP_K + 1},
        {"min_score": 1.1},
        {"min_score": float("nan")},
        {"document_ids": []},
        {"document_ids": ["x"] * 101},
        {"tenant_id": "other"},
    ],
    ids=str,
)
def test_a_bad_request_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchPassages.model_validate({"question": "why?", **change})


def test_the_service_needs_a_connection() -> None:
    with pytest.raises(ConfigurationError, match="direct_redis_conn"):
        QueryService(app_settings=QuerySettings())


async def test_the_client_returns_the_passages() -> None:
    found = FoundPassages(passages=[], searched=7, model="m")
    client = RecordingQueryClient(found.model_dump(mode="json"))
    assert await client.search("why?", "acme", top_k=3, document_ids=("a",)) == found
    [(pattern, action)] = client.sent
    assert pattern == "request"
    assert (action.action_type, action.domain, action.tenant_id) == ("query.search", "query", "acme")
    assert SearchPassages.model_validate(action.data) == SearchPassages(
        question="why?", top_k=3, document_ids=["a"]
    )
