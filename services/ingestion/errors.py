"""What the ingestion service refuses."""

from __future__ import annotations

from typing import ClassVar

from nooble_tasks import NoobleError


class TooManyDocuments(NoobleError):  # noqa: N818  says what happened, as its siblings do
    """The tenant stores as many documents as it may: delete some, or raise NOOBLE_INGESTION_MAX_DOCUMENTS."""

    code: ClassVar[str] = "too_many_documents"
