"""Settings of the ingestion service (environment variables `NOOBLE_INGESTION_…`)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from nooble_tasks import CommonAppSettings
from services.embedding.models import MAX_TEXTS


class IngestionSettings(CommonAppSettings):
    """What the ingestion service needs besides the common settings."""

    model_config = SettingsConfigDict(env_prefix="NOOBLE_INGESTION_")

    service_name: str = "ingestion_service"
    domain_name: str = "ingestion"
    passage_target: int = Field(default=600, ge=50, description="characters after which a passage may end")
    passage_maximum: int = Field(default=800, le=2_000, description="characters of the longest passage")
    passage_overlap: int = Field(default=100, ge=0, description="characters repeated from the passage before")
    embedding_batch: int = Field(
        default=128, ge=1, le=MAX_TEXTS, description="passages per request for vectors"
    )
    embedding_timeout_s: float = Field(
        default=30.0, gt=0, description="seconds to wait for one batch of vectors"
    )
    max_documents: int = Field(default=10_000, ge=1, description="documents that one tenant may store")
    notify_service: str = Field(
        default="",
        description="service that is told of each stored document (ingestion.document.processed); "
        "empty: none. The notification is an action of the tenant and counts in its limits there",
    )

    @model_validator(mode="after")
    def _passage_sizes_fit(self) -> Self:
        if not 2 * self.passage_overlap < self.passage_target <= self.passage_maximum:
            raise ValueError("need 2 * passage_overlap < passage_target <= passage_maximum")
        return self
