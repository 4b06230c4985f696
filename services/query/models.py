"""What travels to and from the query service."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from services.ingestion.models import DocumentId

MAX_TOP_K = 50


def _not_blank(question: str) -> str:
    if not question.strip():
        raise ValueError("a question must contain more than white space")
    return question


Question = Annotated[str, StringConstraints(max_length=4_000), AfterValidator(_not_blank)]


class SearchPassages(BaseModel):
    """Data of `query.search`."""

    model_config = ConfigDict(extra="forbid")

    question: Question
    top_k: int = Field(default=5, ge=1, le=MAX_TOP_K, description="passages wanted")
    min_score: float = Field(default=-1.0, ge=-1.0, le=1.0, description="passages below it are left out")
    document_ids: list[DocumentId] | None = Field(
        default=None, min_length=1, max_length=100, description="search these documents only"
    )


class FoundPassage(BaseModel):
    """A passage near the question. `score` is the cosine of the two vectors; 1 is the same text."""

    document_id: DocumentId
    title: str
    number: int = Field(ge=0)
    start: int = Field(ge=0)
    end: int
    text: str
    score: float


class FoundPassages(BaseModel):
    """The nearest passages of the caller's tenant, best first, out of `searched`."""

    passages: list[FoundPassage]
    searched: int = Field(ge=0)
    model: str | None = None  # None: there was nothing to search
