"""Where the passages of a tenant's documents are stored, with their vectors.

Keys of one tenant (the braces keep them in one Cluster slot, so that one transaction can change them
together):

| key | type | content |
|---|---|---|
| `nooble-app:<environment>:{<tenant>}:passages:version` | string | grows with every change |
| `…:passages:revisions` | hash | document id -> revision (a digest of what was stored) |
| `…:passages:vectors` | hash | document id -> one packed float32 matrix, so that a search reads no text |
| `…:passages:document:<document id>` | hash | `revision`, `title`, `created_ms`, and passage number -> text |

The keys are data and do not expire, except the mark that a deleted document leaves (one day).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from nooble_tasks import ConfigurationError, check_id, check_tenant_id

_DELETED_MARK_SECONDS = 86_400
_FIELDS_PER_COMMAND = 500
_DOCUMENTS_PER_READ = 64


class PassageText(NamedTuple):
    """One passage and its place in the document: characters `start` to `end`."""

    start: int
    end: int
    text: str


class Vectors(NamedTuple):
    """The vectors of one document's passages; row n belongs to passage n."""

    revision: str
    model: str
    matrix: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is stored. `created_ms` is when the caller asked for it: the newest request wins."""

    document_id: str
    title: str
    revision: str
    created_ms: int
    model: str
    passages: Sequence[PassageText]
    matrix: NDArray[np.float32]


class Stored(StrEnum):
    """What became of a request to store a document."""

    STORED = "stored"
    SUPERSEDED = "superseded"  # a newer request for this document came first


class FoundText(NamedTuple):
    """Passage texts of one document by number; a number that does not exist (any more) is missing."""

    revision: str
    title: str
    passages: dict[int, PassageText]


class TenantPassages:
    """The passages of exactly one tenant: no method takes a tenant, so none can reach another's.

    `redis` must return bytes (`decode_responses=False`), because vectors are binary.
    """

    def __init__(self, redis: Redis, *, environment: str, tenant_id: str) -> None:
        check_id("environment", environment)
        check_tenant_id(tenant_id)
        if redis.get_encoder().decode_responses:  # type: ignore[no-untyped-call]
            raise ConfigurationError("vectors are binary: pass a connection without decode_responses=True")
        self._redis = redis
        self.prefix = f"nooble-app:{environment}:{{{tenant_id}}}:passages"
        self._version = f"{self.prefix}:version"
        self._revisions = f"{self.prefix}:revisions"
        self._vectors = f"{self.prefix}:vectors"

    # -- writing ---------------------------------------------------------------------------------------------

    async def replace(self, document: StoredDocument) -> Stored:
        """Store all of the document or nothing of it, in place of what had the same id.

        Repeating it changes nothing, and a late request (an attempt that lost its lease, an overtaken upload)
        does not replace what a newer one stored. "Newer" is by the callers' clocks.
        """
        key = self._document(document.document_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    stored_ms = await self._stored_ms(pipe, key)
                    if stored_ms > document.created_ms:
                        return Stored.SUPERSEDED
                    pipe.multi()  # type: ignore[no-untyped-call]
                    self._queue_replace(pipe, key, document)
                    await pipe.execute()
                    return Stored.STORED
                except WatchError:
                    continue

    def _queue_replace(self, pipe: Pipeline, key: str, document: StoredDocument) -> None:
        pipe.delete(key)
        head = {
            "revision": document.revision,
            "title": document.title,
            "created_ms": str(document.created_ms),
        }
        pipe.hset(key, mapping=head)
        for first in range(0, len(document.passages), _FIELDS_PER_COMMAND):
            part = document.passages[first : first + _FIELDS_PER_COMMAND]
            texts = {str(n): json.dumps(passage, ensure_ascii=False) for n, passage in enumerate(part, first)}
            pipe.hset(key, mapping=texts)
        pipe.hset(self._vectors, document.document_id, _packed(document))  # type: ignore[arg-type]  # bytes are fine
        pipe.hset(self._revisions, document.document_id, document.revision)
        pipe.incr(self._version)

    async def delete(self, document_id: str, created_ms: int) -> bool:
        """Remove the document; False if there was none, or a newer request has stored it again."""
        key = self._document(document_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    stored_ms = await self._stored_ms(pipe, key)
                    if stored_ms > created_ms:
                        return False
                    pipe.multi()  # type: ignore[no-untyped-call]
                    pipe.delete(key)
                    pipe.hset(key, "created_ms", str(created_ms))  # the mark that stops late older uploads
                    pipe.expire(key, _DELETED_MARK_SECONDS)
                    pipe.hdel(self._vectors, document_id)
                    pipe.hdel(self._revisions, document_id)
                    pipe.incr(self._version)
                    replies = await pipe.execute()
                    return bool(replies[4])
                except WatchError:
                    continue

    # -- reading ---------------------------------------------------------------------------------------------

    async def version(self) -> int:
        """Grows with every change; 0 if the tenant never stored anything."""
        return int(await self._redis.get(self._version) or 0)

    async def count(self) -> int:
        """Number of documents."""
        return int(await cast("Any", self._redis.hlen(self._revisions)))

    async def has(self, document_id: str) -> bool:
        return bool(await cast("Any", self._redis.hexists(self._revisions, document_id)))

    async def revisions(self) -> dict[str, str]:
        """Document id -> revision, of all documents."""
        stored = await cast("Any", self._redis.hgetall(self._revisions))
        return {document_id.decode(): revision.decode() for document_id, revision in stored.items()}

    async def vectors(self, document_ids: Iterable[str]) -> dict[str, Vectors]:
        """The vectors of those of the documents that exist."""
        wanted = list(document_ids)
        found: dict[str, Vectors] = {}
        for first in range(0, len(wanted), _DOCUMENTS_PER_READ):
            part = wanted[first : first + _DOCUMENTS_PER_READ]
            blobs = await cast("Any", self._redis.hmget(self._vectors, part))
            found.update(
                (d, _unpacked(blob)) for d, blob in zip(part, blobs, strict=True) if blob is not None
            )
        return found

    async def texts(self, wanted: dict[str, list[int]]) -> dict[str, FoundText]:
        """Passages by document id and number, one round trip; a document that is gone is missing."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for document_id, numbers in wanted.items():
                pipe.hmget(self._document(document_id), ["revision", "title", *map(str, numbers)])
            replies = await pipe.execute()
        found: dict[str, FoundText] = {}
        for (document_id, numbers), (revision, title, *texts) in zip(wanted.items(), replies, strict=True):
            if revision is not None:
                passages = {
                    n: PassageText(*json.loads(text)) for n, text in zip(numbers, texts, strict=True) if text
                }
                found[document_id] = FoundText(revision.decode(), title.decode(), passages)
        return found

    # -- details ---------------------------------------------------------------------------------------------

    def _document(self, document_id: str) -> str:
        return (
            f"{self.prefix}:document:{document_id}"  # last part of the name: any document id is unambiguous
        )

    @staticmethod
    async def _stored_ms(pipe: Pipeline, key: str) -> int:
        """When the watched document, or its deletion, was asked for; 0 if it is unknown."""
        return int(await cast("Any", pipe.hget(key, "created_ms")) or 0)


def _packed(document: StoredDocument) -> bytes:
    """One line of JSON that says what follows, then the matrix: little-endian float32, row after row."""
    rows, dimension = document.matrix.shape
    head = {"revision": document.revision, "model": document.model, "rows": rows, "dimension": dimension}
    return json.dumps(head).encode() + b"\n" + document.matrix.astype("<f4", copy=False).tobytes()


def _unpacked(blob: bytes) -> Vectors:
    line, _, raw = blob.partition(b"\n")
    head = json.loads(line)
    matrix = np.frombuffer(raw, dtype="<f4").reshape(head["rows"], head["dimension"])
    return Vectors(head["revision"], head["model"], matrix.astype(np.float32, copy=False))
