"""The index of a tenant's vectors: the same answer as a full sort, current with the store, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from redis.asyncio import Redis

from services.passages import PassageText, StoredDocument, TenantPassages, Vectors
from services.query.index import IndexCache, TenantIndex


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    matrix = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix


class CountingPassages(TenantPassages):
    """Remembers which documents' vectors were read."""

    def __init__(self, redis: Redis, tenant_id: str = "acme") -> None:
        super().__init__(redis, environment="test", tenant_id=tenant_id)
        self.read: list[list[str]] = []

    async def vectors(self, document_ids: Iterable[str]) -> dict[str, Vectors]:
        self.read.append(sorted(document_ids))
        return await super().vectors(self.read[-1])

    async def put(self, document_id: str, seed: int, count: int = 3) -> None:
        texts = [PassageText(0, 1, "x")] * count
        matrix = rows(count, seed)
        await self.replace(StoredDocument(document_id, "t", f"r{seed}", seed, "m", texts, matrix))


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1),
    st.integers(1, 12),
    st.floats(-1, 1),
    st.none() | st.sets(st.sampled_from("abcxyz")),
)
def test_search_equals_sorting_everything(
    sizes: dict[str, int], top_k: int, min_score: float, chosen: set[str] | None
) -> None:
    documents = {d: Vectors(f"r-{d}", "m", rows(n, seed=ord(d))) for d, n in sizes.items()}
    vector = rows(1, seed=99)[0]
    hits = TenantIndex(1, documents).search(
        "m", vector, top_k=top_k, min_score=min_score, document_ids=chosen
    )
    everything = sorted(
        ((float(v @ vector), d, n) for d, found in documents.items() for n, v in enumerate(found.matrix)),
        reverse=True,
    )
    expected = [e for e in everything if e[0] >= min_score + 1e-6 and (chosen is None or e[1] in chosen)][
        :top_k
    ]
    assert [(hit.document_id, hit.number) for hit in hits][: len(expected)] == [
        (d, n) for _, d, n in expected
    ]
    assert len(hits) <= top_k
    for hit in hits:
        assert hit.revision == f"r-{hit.document_id}"
        assert hit.score >= min_score
        assert chosen is None or hit.document_id in chosen
        np.testing.assert_allclose(
            hit.score, documents[hit.document_id].matrix[hit.number] @ vector, atol=1e-5
        )


def test_vectors_of_another_model_are_never_compared() -> None:
    wide = np.full((2, 16), 0.25, dtype=np.float32)
    index = TenantIndex(1, {"new": Vectors("r", "m", rows(3)), "old": Vectors("r", "wide", wide)})
    assert {hit.document_id for hit in index.search("m", rows(1)[0], top_k=9)} == {"new"}
    assert {hit.document_id for hit in index.search("wide", wide[0], top_k=9)} == {"old"}
    assert index.search("unknown", rows(1)[0], top_k=9) == []
    assert len(index) == 5


def test_an_empty_index_finds_nothing() -> None:
    assert TenantIndex(0, {}).search("m", rows(1)[0], top_k=5) == []


async def test_only_what_changed_is_read_again(redis: Redis) -> None:
    store, cache = CountingPassages(redis), IndexCache(10**9)
    await store.put("a", 1)
    await store.put("b", 2)
    first = await cache.current(store)
    assert await cache.current(store) is first
    await store.put("b", 3, count=5)
    await store.put("c", 4)
    second = await cache.current(store)
    await store.delete("a", 9)
    third = await cache.current(store)
    assert store.read == [["a", "b"], ["b", "c"], []]
    assert [len(index) for index in (first, second, third)] == [6, 11, 8]
    np.testing.assert_array_equal(third.documents["b"].matrix, rows(5, 3))
    assert set(first.documents) == {"a", "b"}, "a search that is running keeps its state"


async def test_questions_at_the_same_time_load_once(redis: Redis) -> None:
    store, cache = CountingPassages(redis), IndexCache(10**9)
    await store.put("a", 1)
    indexes = await asyncio.gather(*(cache.current(store) for _ in range(20)))
    assert store.read == [["a"]]
    assert len(set(map(id, indexes))) == 1


async def test_the_tenant_that_waited_longest_is_forgotten(redis: Redis) -> None:
    stores = [CountingPassages(redis, tenant) for tenant in ("a", "b", "c")]
    for store in stores:
        await store.put("doc", 1)
    cache = IndexCache(max_bytes=2 * rows(3).nbytes)
    for position in (0, 1, 0, 2, 0, 1):  # c pushes b out, b pushes c out; a is always in use
        await cache.current(stores[position])
    assert [len(store.read) for store in stores] == [1, 2, 1]


async def test_one_index_over_the_bound_is_still_used(redis: Redis) -> None:
    store, cache = CountingPassages(redis), IndexCache(max_bytes=0)
    await store.put("a", 1)
    assert await cache.current(store) is await cache.current(store)
