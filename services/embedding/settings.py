"""Settings of the embedding service (environment variables `NOOBLE_EMBEDDING_…`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from nooble_tasks import CommonAppSettings

from .models import MAX_DIMENSION


class EmbeddingSettings(CommonAppSettings):
    """What the embedding service needs besides the common settings."""

    model_config = SettingsConfigDict(env_prefix="NOOBLE_EMBEDDING_")

    service_name: str = "embedding_service"
    domain_name: str = "embedding"
    dimension: int = Field(default=512, ge=16, le=MAX_DIMENSION, description="length of each vector")
    thread_from_characters: int = Field(
        default=8_000,
        ge=0,
        description="batches with this many characters are computed in a thread (about 2 ms)",
    )
