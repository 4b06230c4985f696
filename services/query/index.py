"""A tenant's vectors in this process, kept current by the store's version counter."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from services.passages import TenantPassages, Vectors

_BUILD_IN_THREAD_FROM = 10_000  # passages; copying them takes some milliseconds


class Hit(NamedTuple):
    """Passage `number` of a document as it was in `revision`."""

    document_id: str
    revision: str
    number: int
    score: float


class _Rows(NamedTuple):
    """All vectors of one model below each other, and whose they are."""

    matrix: NDArray[np.float32]
    document_ids: list[str]
    owners: NDArray[np.int64]  # row -> position in document_ids
    first_rows: NDArray[np.int64]  # position in document_ids -> its first row


class TenantIndex:
    """The vectors of one tenant as of `version`. A value: a change makes a new one, so a running search is
    safe.
    """

    def __init__(self, version: int, documents: dict[str, Vectors]) -> None:
        self.version = version
        self._rows: dict[str, _Rows] = {}
        self.documents: dict[str, Vectors] = {}
        for model in {vectors.model for vectors in documents.values()}:
            self._stack(model, {d: v for d, v in documents.items() if v.model == model})
        self.nbytes = sum(rows.matrix.nbytes for rows in self._rows.values())

    def _stack(self, model: str, documents: dict[str, Vectors]) -> None:
        matrix = np.concatenate([vectors.matrix for vectors in documents.values()])
        counts = np.array([len(vectors.matrix) for vectors in documents.values()], dtype=np.int64)
        ends = np.cumsum(counts)
        for (document_id, vectors), end, count in zip(documents.items(), ends, counts, strict=True):
            # A view, so the vectors are in memory once.
            self.documents[document_id] = vectors._replace(matrix=matrix[end - count : end])
        owners = np.repeat(np.arange(len(counts)), counts)
        self._rows[model] = _Rows(matrix, list(documents), owners, ends - counts)

    def __len__(self) -> int:
        return sum(len(rows.matrix) for rows in self._rows.values())

    def search(
        self,
        model: str,
        vector: NDArray[np.float32],
        *,
        top_k: int,
        min_score: float = -1.0,
        document_ids: Collection[str] | None = None,
    ) -> list[Hit]:
        """The `top_k` rows nearest to `vector` by cosine, best first; rows of other models are never
        compared.
        """
        rows = self._rows.get(model)
        if rows is None:
            return []
        scores = rows.matrix @ vector  # both are normalised
        candidates = np.arange(len(scores))
        if document_ids is not None:
            wanted = set(document_ids)
            chosen = np.array([document_id in wanted for document_id in rows.document_ids])
            candidates = candidates[chosen[rows.owners]]
        candidates = candidates[scores[candidates] >= min_score]
        if len(candidates) > top_k:
            candidates = candidates[np.argpartition(-scores[candidates], top_k - 1)[:top_k]]
        best = candidates[np.argsort(-scores[candidates], kind="stable")]
        return [self._hit(rows, int(row), float(scores[row])) for row in best]

    def _hit(self, rows: _Rows, row: int, score: float) -> Hit:
        owner = int(rows.owners[row])
        document_id = rows.document_ids[owner]
        number = row - int(rows.first_rows[owner])
        return Hit(document_id, self.documents[document_id].revision, number, score)


class IndexCache:
    """The indexes of the tenants searched last, up to `max_bytes` of vectors (the newest always stays)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._indexes: OrderedDict[str, TenantIndex] = OrderedDict()
        self._loading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def current(self, store: TenantPassages) -> TenantIndex:
        """The tenant's index, with every change that was stored before this call. Reads only what changed."""
        lock = self._loading.setdefault(store.prefix, asyncio.Lock())
        async with lock:  # many questions of one tenant load its vectors once
            version = await store.version()
            index = self._indexes.get(store.prefix)
            if index is None or index.version != version:
                index = await self._refreshed(store, version, index.documents if index else {})
                self._indexes[store.prefix] = index
            self._indexes.move_to_end(store.prefix)
            self._forget_the_oldest()
            return index

    @staticmethod
    async def _refreshed(store: TenantPassages, version: int, known: dict[str, Vectors]) -> TenantIndex:
        revisions = await store.revisions()
        documents = {
            d: known[d] for d, revision in revisions.items() if d in known and known[d].revision == revision
        }
        documents.update(await store.vectors(d for d in revisions if d not in documents))
        # What changes while this reads raises the version further, so the next call reads it.
        if sum(len(vectors.matrix) for vectors in documents.values()) < _BUILD_IN_THREAD_FROM:
            return TenantIndex(version, documents)
        return await asyncio.to_thread(TenantIndex, version, documents)

    def _forget_the_oldest(self) -> None:
        total = sum(index.nbytes for index in self._indexes.values())
        while total > self._max_bytes and len(self._indexes) > 1:
            total -= self._indexes.popitem(last=False)[1].nbytes
