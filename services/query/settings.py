"""Settings of the query service (environment variables `NOOBLE_QUERY_…`)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from nooble_tasks import CommonAppSettings


class QuerySettings(CommonAppSettings):
    """What the query service needs besides the common settings."""

    model_config = SettingsConfigDict(env_prefix="NOOBLE_QUERY_")

    service_name: str = "query_service"
    domain_name: str = "query"
    embedding_timeout_s: float = Field(
        default=30.0, gt=0, description="seconds to wait for the question's vector"
    )
    index_cache_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="vectors kept in this process, of all tenants together"
    )
