"""Texts to vectors."""

from .client import EmbeddingServiceClient
from .models import Embeddings, GenerateEmbeddings, ModelUpdated
from .provider import EmbeddingProvider, HashingProvider
from .service import EmbeddingService
from .settings import EmbeddingSettings

__all__ = [
    "EmbeddingProvider",
    "EmbeddingService",
    "EmbeddingServiceClient",
    "EmbeddingSettings",
    "Embeddings",
    "GenerateEmbeddings",
    "HashingProvider",
    "ModelUpdated",
]
