"""What travels to and from the embedding service."""

from __future__ import annotations

import base64
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    model_validator,
)

# Chosen so that a request and its answer (with vectors of up to MAX_DIMENSION) stay below 1 MiB on the bus.
MAX_TEXTS = 128
MAX_TEXT_CHARACTERS = 20_000
MAX_TOTAL_CHARACTERS = 300_000
MAX_DIMENSION = 1024


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a text must contain more than white space")
    return text


Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS), AfterValidator(_not_blank)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]


class GenerateEmbeddings(BaseModel):
    """Data of `embedding.text.generate`."""

    model_config = ConfigDict(extra="forbid")

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        total = sum(map(len, self.texts))
        if total > MAX_TOTAL_CHARACTERS:
            raise ValueError(
                f"{total:,} characters in one request, at most {MAX_TOTAL_CHARACTERS:,}: send several"
            )
        return self


class Embeddings(BaseModel):
    """Vectors of `count` texts, in the order of the texts.

    The matrix travels as base64 of its bytes, not as a list of numbers: it arrives exactly as it was
    computed, takes 5.3 characters per number instead of 8 to 20, and reading it is one copy instead of
    parsing `count * dimension` decimal numbers in the caller's event loop.
    """

    model: ModelName
    count: int = Field(ge=0)
    dimension: int = Field(ge=1)
    dtype: Literal["<f4"] = "<f4"  # numpy's name for little-endian float32
    vectors: str = Field(repr=False)
    _raw: bytes = PrivateAttr(default=b"")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        expected = self.count * self.dimension * 4
        try:
            self._raw = base64.b64decode(self.vectors, validate=True)
        except ValueError as error:
            raise ValueError(f"vectors is not base64: {error}") from None
        if len(self._raw) != expected:
            raise ValueError(f"vectors must hold {expected} bytes ({self.count} x {self.dimension} float32)")
        return self

    @classmethod
    def of(cls, model: str, matrix: NDArray[np.float32]) -> Self:
        """The matrix (one row per text) in its form for the wire."""
        count, dimension = matrix.shape
        raw = np.ascontiguousarray(matrix, dtype="<f4").tobytes()
        return cls(model=model, count=count, dimension=dimension, vectors=base64.b64encode(raw).decode())

    def matrix(self) -> NDArray[np.float32]:
        """One float32 row per text; read-only."""
        flat = np.frombuffer(self._raw, dtype=self.dtype)
        return flat.reshape(self.count, self.dimension).astype(np.float32, copy=False)


class ModelUpdated(BaseModel):
    """Data of `embedding.model.updated_notification`."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: ModelName
