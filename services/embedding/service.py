"""The embedding service: texts in, vectors out."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, BaseService, handles

from .models import Embeddings, GenerateEmbeddings, ModelUpdated
from .provider import EmbeddingProvider, HashingProvider
from .settings import EmbeddingSettings


class EmbeddingService(BaseService):
    """Answers `embedding.text.generate`; takes note of `embedding.model.updated_notification`."""

    settings_class: ClassVar[type[EmbeddingSettings]] = EmbeddingSettings

    def __init__(
        self,
        *,
        app_settings: EmbeddingSettings,
        service_redis_client: BaseRedisClient | None = None,
        direct_redis_conn: Redis | None = None,
        provider: EmbeddingProvider | None = None,
    ) -> None:
        super().__init__(
            app_settings=app_settings,
            service_redis_client=service_redis_client,
            direct_redis_conn=direct_redis_conn,
        )
        self._settings = app_settings
        self._provider = provider or HashingProvider(app_settings.dimension)

    @handles("embedding.text.generate")
    async def generate(self, data: GenerateEmbeddings) -> Embeddings:
        """One vector per text, in their order."""
        provider = self._provider
        if sum(map(len, data.texts)) < self._settings.thread_from_characters:
            matrix = provider.embed(data.texts)
        else:  # milliseconds of computing: other actions of this process go on meanwhile
            matrix = await asyncio.to_thread(provider.embed, data.texts)
        return Embeddings.of(provider.model_name, matrix)

    @handles("embedding.model.updated_notification")
    async def model_updated(self, data: ModelUpdated) -> None:
        """Load the model again if it is the one served here.

        Like every action it reaches one worker process; the others keep what they have loaded.
        """
        serving = self._provider.model_name
        if data.model_name == serving:
            await asyncio.to_thread(self._provider.reload)
        self._logger.info("model %s was updated; this service serves %s", data.model_name, serving)
