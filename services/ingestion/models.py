"""What travels to and from the ingestion service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from services.passages import Stored

MAX_DOCUMENT_CHARACTERS = 500_000


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters are not allowed")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("a document must contain more than white space")
    return text


DocumentId = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_printable)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_printable)]
DocumentText = Annotated[
    str, StringConstraints(max_length=MAX_DOCUMENT_CHARACTERS), AfterValidator(_not_blank)
]


class ProcessDocument(BaseModel):
    """Data of `ingestion.document.process`. The same `document_id` again replaces the document."""

    model_config = ConfigDict(extra="forbid")

    document_id: DocumentId
    title: Title
    text: DocumentText


class DocumentProgress(BaseModel):
    """Data of a progress callback: so many of the document's passages have their vectors."""

    status: Literal["processing"] = "processing"
    document_id: DocumentId
    passages_done: int = Field(ge=0)
    passages_total: int = Field(ge=0)


class DocumentProcessed(BaseModel):
    """The result, data of the final callback and of the `ingestion.document.processed` notification.

    `status` says what became of the request: stored, or superseded (a newer request for the document came
    first and nothing was written). `revision` is a digest of what was stored: the same document again has the
    same one.
    """

    status: Stored
    document_id: DocumentId
    revision: str
    passages: int = Field(ge=0)
    characters: int = Field(ge=0)


class DeleteDocument(BaseModel):
    """Data of `ingestion.document.delete`."""

    model_config = ConfigDict(extra="forbid")

    document_id: DocumentId


class DocumentDeleted(BaseModel):
    """`deleted` is False if there was no such document, or a newer request stored it again."""

    document_id: DocumentId
    deleted: bool
