"""The local embedding provider: real vectors, the same everywhere, near where the texts are near."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedding.provider import EmbeddingProvider, HashingProvider, words_of

PASSAGE = (
    "Open a zip archive for reading, writing or appending. The compression parameter selects the method "
    "that is used when the archive is written, and it must be closed before the program exits, or essential "
    "records will not be written. "
) * 4


@pytest.fixture(scope="module")
def provider() -> EmbeddingProvider:
    return HashingProvider()


def similarity(provider: EmbeddingProvider, one: str, other: str) -> float:
    first, second = provider.embed([one, other])
    return float(first @ second)


def test_shape_type_and_length(provider: EmbeddingProvider) -> None:
    matrix = provider.embed(["one text", "another text", "a third"])
    assert matrix.shape == (3, provider.dimension) == (3, 512)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1.0, rtol=1e-6)


def test_no_texts_give_no_rows(provider: EmbeddingProvider) -> None:
    assert provider.embed([]).shape == (0, 512)


def test_a_text_without_words_is_similar_to_nothing(provider: EmbeddingProvider) -> None:
    matrix = provider.embed(["... !?", "words"])
    assert not matrix[0].any()
    assert np.isfinite(matrix).all()


@given(st.lists(st.text(max_size=80), max_size=8))
def test_a_row_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    provider = HashingProvider(64)
    together = provider.embed(texts)
    assert np.isfinite(together).all()
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_allclose(row, provider.embed([text])[0], atol=1e-6)


def test_every_process_computes_the_same_vectors(provider: EmbeddingProvider) -> None:
    program = (
        "import hashlib, sys; from services.embedding.provider import HashingProvider;"
        "print(hashlib.sha256(HashingProvider().embed([sys.argv[1]]).tobytes()).hexdigest())"
    )
    here = hashlib.sha256(provider.embed([PASSAGE]).tobytes()).hexdigest()
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", program, PASSAGE],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_vectors_stored_by_earlier_releases_stay_comparable() -> None:
    vector = HashingProvider(16).embed(["feature hashing"])[0]
    golden = np.array([0, 1, 1, 0, 2, 3, 2, 0, -1, -1, -2, 0, 0, 2, 2, 1])  # n-grams per slot, by sign
    np.testing.assert_allclose(
        vector,
        golden / np.linalg.norm(golden),
        atol=1e-6,
        err_msg="a change of the vectors needs a new model name",
    )


def test_related_words_are_near_and_unrelated_ones_are_not(provider: EmbeddingProvider) -> None:
    inflected = similarity(provider, "splitting documents", "the document is split")
    misspelt = similarity(provider, "asynchronous generator", "asynchronuos generator")
    unrelated = similarity(provider, "splitting documents", "colour of the sky")
    assert misspelt > 0.7 > inflected > 0.4
    assert abs(unrelated) < 0.1


def test_case_width_and_underscores_do_not_matter(provider: EmbeddingProvider) -> None:
    assert similarity(provider, "Read_CSV straße", "read csv STRASSE") == pytest.approx(1.0, abs=1e-6)
    assert words_of("ﬁle Ｆile") == ["file", "file"]


def test_enormous_words_are_taken_in_pieces() -> None:
    assert [len(word) for word in words_of("x" * 100)] == [40, 40, 20]


def test_repeating_a_word_counts_less_and_less(provider: EmbeddingProvider) -> None:
    once, often, only = (similarity(provider, "apple", f"{'apple ' * n} banana") for n in (1, 9, 1000))
    assert once < often < only < 1
    # 1 + ln 9 = 3.2 times the weight, not 9 times: the angle to "banana" stays visible.
    assert often < 0.98


def test_hashing_is_unbiased() -> None:
    """Unrelated texts: similarity spreads around zero by about 1 / sqrt(dimension), as signed hashing
    promises.
    """
    provider = HashingProvider(256)
    rng = np.random.default_rng(7)
    texts = ["".join(chr(rng.integers(0x4E00, 0x9FFF)) for _ in range(12)) for _ in range(300)]
    matrix = provider.embed(texts)
    products = (matrix @ matrix.T)[np.triu_indices(len(texts), 1)]
    assert abs(products.mean()) < 0.005
    assert products.std() == pytest.approx(1 / np.sqrt(256), rel=0.1)


def test_threads_may_share_a_provider(provider: EmbeddingProvider) -> None:
    texts = [f"{PASSAGE} {n}" for n in range(40)]
    expected = HashingProvider().embed(texts)
    with ThreadPoolExecutor(4) as pool:
        for matrix in pool.map(lambda _: provider.embed(texts), range(8)):
            np.testing.assert_array_equal(matrix, expected)


def test_a_passage_takes_less_than_a_millisecond(provider: EmbeddingProvider) -> None:
    texts = [PASSAGE[n : n + 800] for n in range(100)]
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        provider.embed(texts)
        best = min(best, time.process_time() - started)
    assert best / len(texts) < 0.001


@pytest.mark.parametrize("dimension", [0, 15, 8193])
def test_an_impossible_dimension_is_refused(dimension: int) -> None:
    with pytest.raises(ValueError, match="between 16 and 8192"):
        HashingProvider(dimension)
