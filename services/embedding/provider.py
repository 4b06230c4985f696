"""Text to vectors: the interface, and a local provider that needs no model file.

Sources of the local provider:

- K. Weinberger, A. Dasgupta, J. Langford, A. Smola, J. Attenberg: "Feature Hashing for Large Scale Multitask
  Learning", ICML 2009 (arXiv:0902.2206): features are hashed to a slot and a sign, so that collisions cancel
  out on average and inner products stay unbiased, without a vocabulary.
- P. Bojanowski, E. Grave, A. Joulin, T. Mikolov: "Enriching Word Vectors with Subword Information", TACL 2017
  (arXiv:1607.04606, fastText): a word is the bag of its character n-grams with boundary marks, plus itself,
  so "splitting" is near "splits" and a spelling mistake costs little.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.float32]
_Features = tuple[NDArray[np.int64], NDArray[np.float32]]  # slots and signs of one word's n-grams

_NGRAM_SIZES = (3, 4, 5)
_MAX_WORD = 40  # longer runs (encoded data, URLs, scripts without spaces) are taken in pieces of this length
_WORD = re.compile(rf"[^\W_]{{1,{_MAX_WORD}}}")
_CACHED_WORDS = 32_768  # about 20 MB when full


class EmbeddingProvider(Protocol):
    """What the embedding service needs from a model, local or remote."""

    @property
    def model_name(self) -> str:
        """Names the vector space: vectors of different names must not be compared."""

    @property
    def dimension(self) -> int:
        """Length of each vector."""

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """One L2-normalised float32 row per text; may be called from several threads at once."""

    def reload(self) -> None:
        """Forget what was loaded and load it again at the next use."""


class HashingProvider:
    """Signed feature hashing of the character n-grams (3 to 5, and the whole word) of each word.

    A word that stands n times in a text counts 1 + ln(n) times (sublinear term frequency). Every n-gram
    counts 1, so long words weigh more than short ones; measured on the standard library's docstrings that
    finds better than equal weights, and it needs no document frequencies, so the provider has no state: the
    same text gives the same vector in every process and on every machine. A text without any letter or digit
    gives the zero vector, similar to nothing.
    """

    def __init__(self, dimension: int = 512) -> None:
        if not 16 <= dimension <= 8192:
            raise ValueError(f"dimension must be between 16 and 8192, not {dimension}")
        self._dimension = dimension
        self._features = lru_cache(maxsize=_CACHED_WORDS)(self._compute_features)

    @property
    def model_name(self) -> str:
        return f"char-ngram-hashing-{self._dimension}"

    @property
    def dimension(self) -> int:
        return self._dimension

    def embed(self, texts: Sequence[str]) -> FloatMatrix:
        """All features of the batch are added up in one `bincount`: a row of 800 characters costs about 0.1
        ms.
        """
        slots: list[NDArray[np.int64]] = []
        signs: list[NDArray[np.float32]] = []
        counts: list[int] = []  # features, occurrences and row of each different word of each text
        times: list[int] = []
        rows: list[int] = []
        for row, text in enumerate(texts):
            for word, occurrences in Counter(words_of(text)).items():
                word_slots, word_signs = self._features(word)
                slots.append(word_slots)
                signs.append(word_signs)
                counts.append(len(word_slots))
                times.append(occurrences)
                rows.append(row)
        matrix = np.zeros((len(texts), self._dimension), dtype=np.float32)
        if slots:
            weights = np.repeat(1.0 + np.log(times), counts) * np.concatenate(signs)
            places = np.repeat(np.array(rows, dtype=np.int64) * self._dimension, counts) + np.concatenate(
                slots
            )
            matrix += np.bincount(places, weights, matrix.size).reshape(matrix.shape)
        norms = np.linalg.norm(matrix, axis=1, keepdims=True)
        np.divide(matrix, norms, out=matrix, where=norms > 0)
        return matrix

    def reload(self) -> None:
        """There is no model file; only the remembered words are forgotten."""
        self._features.cache_clear()

    def _compute_features(self, word: str) -> _Features:
        """Slot and sign of every n-gram of the word."""
        marked = f"<{word}>"
        grams = [marked[i : i + n] for n in _NGRAM_SIZES for i in range(len(marked) - n + 1)]
        if len(marked) > _NGRAM_SIZES[-1] or not grams:
            grams.append(marked)
        hashes = _mixed(
            np.array([zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams], np.uint32)
        )
        signs = np.where(hashes >> np.uint32(31), np.float32(1), np.float32(-1))
        return (hashes % np.uint32(self._dimension)).astype(np.int64), signs


def words_of(text: str) -> list[str]:
    """Words of letters and digits, compatibility-normalised and case-folded; `snake_case` is two words."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _mixed(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finaliser. CRC-32 is linear: without it n-grams that differ in one place land in related
    slots.
    """
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))
