"""The passage store: a document is there as a whole or not at all, and only for its own tenant."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from nooble_tasks import ConfigurationError, InvalidId
from services.passages import PassageText, Stored, StoredDocument, TenantPassages

DAY_S = 86_400


def store_of(redis: Redis, tenant_id: str = "acme", environment: str = "test") -> TenantPassages:
    return TenantPassages(redis, environment=environment, tenant_id=tenant_id)


def document(
    document_id: str = "doc", revision: str = "r1", created_ms: int = 1_000, passages: int = 3
) -> StoredDocument:
    texts = [PassageText(10 * n, 10 * n + 8, f"{revision} text {n} ñ漢") for n in range(passages)]
    rows = np.arange(passages * 4, dtype=np.float32).reshape(passages, 4)
    return StoredDocument(
        document_id, f"Title of {document_id}", revision, created_ms, "model-4", texts, rows
    )


async def content(store: TenantPassages, document_id: str = "doc", passages: int = 5) -> tuple[object, ...]:
    """Everything that can be read of a document."""
    vectors = await store.vectors([document_id])
    return (
        (await store.revisions()).get(document_id),
        {d: (v.revision, v.model, v.matrix.tolist()) for d, v in vectors.items()},
        await store.texts({document_id: list(range(passages))}),
        await store.has(document_id),
    )


GONE: tuple[object, ...] = (None, {}, {}, False)


async def test_what_is_stored_can_be_read(redis: Redis) -> None:
    store = store_of(redis)
    assert await store.replace(document()) is Stored.STORED
    vectors = (await store.vectors(["doc", "none"]))["doc"]
    assert (vectors.revision, vectors.model) == ("r1", "model-4")
    np.testing.assert_array_equal(vectors.matrix, document().matrix)
    found = await store.texts({"doc": [2, 0, 99], "none": [0]})
    assert list(found) == ["doc"]
    assert (found["doc"].revision, found["doc"].title) == ("r1", "Title of doc")
    assert found["doc"].passages == {0: document().passages[0], 2: document().passages[2]}
    assert (await store.count(), await store.revisions()) == (1, {"doc": "r1"})


async def test_a_tenant_without_documents(redis: Redis) -> None:
    store = store_of(redis)
    assert (await store.version(), await store.count(), await content(store)) == (0, 0, GONE)
    assert await store.texts({}) == {}


async def test_the_keys_are_the_documented_ones(redis: Redis) -> None:
    await store_of(redis).replace(document("folder/my file.txt"))
    prefix = "nooble-app:test:{acme}:passages"
    expected = {
        f"{prefix}:version": b"string",
        f"{prefix}:revisions": b"hash",
        f"{prefix}:vectors": b"hash",
        f"{prefix}:document:folder/my file.txt": b"hash",
    }
    assert {key.decode(): await redis.type(key) for key in await redis.keys("*")} == expected


async def test_repeating_a_request_changes_nothing_but_the_version(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document())
    before = await content(store)
    assert await store.replace(document()) is Stored.STORED
    assert await content(store) == before


async def test_a_shorter_document_leaves_nothing_of_the_longer_one(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document(passages=1_203))
    await store.replace(document(revision="r2", created_ms=1_001, passages=2))
    found = (await store.texts({"doc": list(range(1_203))}))["doc"]
    assert [text.text for text in found.passages.values()] == ["r2 text 0 ñ漢", "r2 text 1 ñ漢"]
    assert (await store.vectors(["doc"]))["doc"].matrix.shape == (2, 4)
    assert await store.count() == 1


async def test_every_change_raises_the_version(redis: Redis) -> None:
    store = store_of(redis)
    versions = [await store.version()]
    await store.replace(document())
    versions.append(await store.version())
    await store.replace(document("other"))
    versions.append(await store.version())
    await store.delete("doc", 2_000)
    versions.append(await store.version())
    assert versions == sorted(set(versions))


async def test_an_overtaken_request_writes_nothing(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document(revision="newer", created_ms=2_000))
    before, version = await content(store), await store.version()
    assert await store.replace(document(revision="older", created_ms=1_999)) is Stored.SUPERSEDED
    assert await content(store) == before
    assert await store.version() == version


async def test_deleting_leaves_only_a_mark_that_expires(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document())
    await store.replace(document("other"))
    assert await store.delete("doc", 2_000) is True
    assert await content(store) == GONE
    assert await store.delete("doc", 2_000) is False
    assert 0 < await redis.ttl(f"{store.prefix}:document:doc") <= DAY_S
    assert await store.has("other")


async def test_a_late_upload_does_not_bring_a_deleted_document_back(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document(created_ms=1_000))
    await store.delete("doc", 2_000)
    assert await store.replace(document(created_ms=1_000)) is Stored.SUPERSEDED
    assert await content(store) == GONE
    assert await store.replace(document(created_ms=2_001)) is Stored.STORED
    assert await redis.ttl(f"{store.prefix}:document:doc") == -1, "a document that is back must not expire"


async def test_a_late_deletion_does_not_remove_a_newer_document(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document(created_ms=2_000))
    assert await store.delete("doc", 1_000) is False
    assert await store.has("doc")


async def test_racing_uploads_leave_the_newest_and_nothing_of_the_others(redis: Redis) -> None:
    store = store_of(redis)
    uploads = [document(revision=f"r{n}", created_ms=n, passages=n % 5 + 1) for n in range(1, 31)]
    uploads[3:3] = [replace(upload, document_id="other") for upload in uploads[:3]]
    outcomes = await asyncio.gather(*(store.replace(upload) for upload in uploads))
    newest = uploads[-1]
    assert outcomes[-1] is Stored.STORED
    revision, vectors, texts, _ = await content(store)
    assert revision == newest.revision
    assert vectors == {"doc": (newest.revision, "model-4", newest.matrix.tolist())}
    assert texts["doc"].revision == newest.revision  # type: ignore[index]
    assert list(texts["doc"].passages.values()) == list(newest.passages)  # type: ignore[index]


async def test_an_upload_overtaken_while_it_writes_is_superseded(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, newer = store_of(redis), document(revision="newer", created_ms=2_000)
    read_ms, reads = TenantPassages._stored_ms, []

    async def stored_ms(pipe: Pipeline, key: str) -> int:
        found = await read_ms(pipe, key)
        reads.append(found)
        if len(reads) == 1:  # between the check and the write
            assert await store_of(redis).replace(newer) is Stored.STORED
        return found

    monkeypatch.setattr(TenantPassages, "_stored_ms", staticmethod(stored_ms))
    assert await store.replace(document(revision="older", created_ms=1_000)) is Stored.SUPERSEDED
    assert reads == [0, 0, 2_000]
    assert await store.revisions() == {"doc": "newer"}


async def test_a_failing_write_leaves_the_old_document(redis: Redis) -> None:
    store = store_of(redis)
    await store.replace(document())
    before, version = await content(store), await store.version()
    unwritable = [*document().passages[:2], PassageText(0, 1, "\ud800")]
    with pytest.raises(UnicodeEncodeError):
        await store.replace(replace(document(revision="r2"), passages=unwritable))
    assert await content(store) == before
    assert await store.version() == version


async def test_tenants_and_environments_are_apart(redis: Redis) -> None:
    stores = [store_of(redis), store_of(redis, "acme2"), store_of(redis, environment="other")]
    await stores[0].replace(document())
    for store in stores[1:]:
        assert (await store.version(), await store.count(), await content(store)) == (0, 0, GONE)
        assert await store.delete("doc", 9_999) is False
    assert await stores[0].has("doc")


@pytest.mark.parametrize("name", ["", "a:b", "a}b", "{a}", "*", "a b", "a\n", "x" * 129])
async def test_a_malformed_tenant_or_environment_is_refused(redis: Redis, name: str) -> None:
    with pytest.raises(InvalidId, match="tenant_id"):
        store_of(redis, tenant_id=name)
    with pytest.raises(InvalidId, match="environment"):
        store_of(redis, environment=name)


def test_a_decoding_connection_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="decode_responses"):
        store_of(Redis(decode_responses=True))
