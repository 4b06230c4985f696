"""The embedding service: its models, its two actions and its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pydantic import ValidationError

from nooble_tasks import DomainAction
from services.embedding import (
    Embeddings,
    EmbeddingService,
    EmbeddingSettings,
    GenerateEmbeddings,
    HashingProvider,
)
from services.embedding.models import MAX_TEXT_CHARACTERS, MAX_TEXTS, MAX_TOTAL_CHARACTERS
from tests.services.fakes import RecordingEmbeddingClient


class WatchedProvider(HashingProvider):
    """Remembers in which thread it computed, and can be held back."""

    def __init__(self) -> None:
        super().__init__(64)
        self.threads: list[int] = []
        self.reloads = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.started = threading.Event()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.threads.append(threading.get_ident())
        self.started.set()
        assert self.go_on.wait(10)
        return super().embed(texts)

    def reload(self) -> None:
        self.reloads += 1


def service(provider: HashingProvider, **settings: int) -> EmbeddingService:
    return EmbeddingService(app_settings=EmbeddingSettings(**settings), provider=provider)  # type: ignore[arg-type]


def generate(texts: list[str]) -> DomainAction:
    return DomainAction(action_type="embedding.text.generate", tenant_id="acme", data={"texts": texts})


async def test_generate_answers_one_vector_per_text() -> None:
    provider = HashingProvider(64)
    answer = await service(provider).process_action(generate(["first text", "second text"]))
    assert isinstance(answer, Embeddings)
    assert (answer.model, answer.count, answer.dimension) == (provider.model_name, 2, 64)
    np.testing.assert_array_equal(answer.matrix(), provider.embed(["first text", "second text"]))


async def test_the_dimension_is_a_setting() -> None:
    answer = await EmbeddingService(app_settings=EmbeddingSettings(dimension=128)).process_action(
        generate(["text"])
    )
    assert answer.matrix().shape == (1, 128)


async def test_a_small_batch_is_computed_at_once() -> None:
    provider = WatchedProvider()
    await service(provider).process_action(generate(["short"]))
    assert provider.threads == [threading.get_ident()]


async def test_a_large_batch_does_not_stop_the_event_loop() -> None:
    provider = WatchedProvider()
    provider.go_on.clear()
    running = asyncio.create_task(
        service(provider, thread_from_characters=100).process_action(generate(["word " * 40]))
    )
    await asyncio.to_thread(provider.started.wait, 10)  # would never come back if the loop were computing
    assert provider.threads != [threading.get_ident()]
    assert not running.done()
    provider.go_on.set()
    assert (await running).count == 1


@pytest.mark.parametrize(("name", "reloads"), [("char-ngram-hashing-64", 1), ("some-other-model", 0)])
async def test_a_model_update_reloads_the_model_that_is_served(name: str, reloads: int) -> None:
    provider = WatchedProvider()
    notice = DomainAction(
        action_type="embedding.model.updated_notification", tenant_id="acme", data={"model_name": name}
    )
    assert await service(provider).process_action(notice) is None
    assert provider.reloads == reloads


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        [" \n\t"],
        ["good", " "],
        ["x"] * (MAX_TEXTS + 1),
        ["x" * (MAX_TEXT_CHARACTERS + 1)],
        ["x" * MAX_TEXT_CHARACTERS] * (MAX_TOTAL_CHARACTERS // MAX_TEXT_CHARACTERS + 1),
        [1],
        "not a list",
    ],
    ids=["none", "empty", "blank", "one blank", "too many", "too long", "too much", "no text", "no list"],
)
def test_a_bad_request_is_refused(texts: object) -> None:
    with pytest.raises(ValidationError):
        GenerateEmbeddings.model_validate({"texts": texts})


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        GenerateEmbeddings.model_validate({"texts": ["a"], "tenant_id": "other"})


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(0, 5), st.integers(1, 20)), elements=st.floats(-1, 1, width=32)
    )
)
def test_vectors_arrive_exactly_as_they_were_sent(matrix: NDArray[np.float32]) -> None:
    arrived = Embeddings.model_validate_json(Embeddings.of("model", matrix).model_dump_json())
    np.testing.assert_array_equal(arrived.matrix(), matrix)
    assert arrived.matrix().dtype == np.float32


def test_a_matrix_in_another_layout_is_sent_row_by_row() -> None:
    matrix = np.arange(12, dtype=np.float64).reshape(3, 4).T
    np.testing.assert_array_equal(Embeddings.of("model", matrix).matrix(), matrix)  # type: ignore[arg-type]


@pytest.mark.parametrize("vectors", ["", "AAAA", "AAAAAAAAAAA=!", "ÄÖÜ"])
def test_incomplete_vectors_are_refused(vectors: str) -> None:
    with pytest.raises(ValidationError, match="vectors"):
        Embeddings(model="model", count=1, dimension=2, vectors=vectors)


class TestClient:
    """Every request names its service, type and tenant."""

    async def test_get_embeddings_returns_the_response(self) -> None:
        client = RecordingEmbeddingClient({"some": "data"})
        response = await client.get_embeddings(["a"], "acme", "session-1")
        [(pattern, action)] = client.sent
        assert response is not None
        assert response.data == {"some": "data"}
        assert pattern == "pseudo_sync"
        assert action.action_type == "embedding.text.generate"
        assert action.target_service == client.TARGET_SERVICE_NAME == "embedding_service"
        assert action.domain == "embedding"
        assert (action.tenant_id, action.session_id, action.data) == ("acme", "session-1", {"texts": ["a"]})

    async def test_embed_returns_the_vectors(self) -> None:
        matrix = np.eye(2, dtype=np.float32)
        client = RecordingEmbeddingClient(Embeddings.of("model", matrix))
        embeddings = await client.embed(("a", "b"), "acme")
        np.testing.assert_array_equal(embeddings.matrix(), matrix)
        assert client.sent[0][0] == "request"

    async def test_notify_model_updated_waits_for_nobody(self) -> None:
        client = RecordingEmbeddingClient()
        await client.notify_model_updated("some-model", "acme")
        [(pattern, action)] = client.sent
        assert pattern == "async"
        assert action.action_type == "embedding.model.updated_notification"
        assert (action.tenant_id, action.data) == ("acme", {"model_name": "some-model"})
