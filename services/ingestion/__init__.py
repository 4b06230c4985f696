"""Documents to passages with vectors."""

from .client import IngestionServiceClient
from .errors import TooManyDocuments
from .models import DeleteDocument, DocumentDeleted, DocumentProcessed, DocumentProgress, ProcessDocument
from .service import IngestionService
from .settings import IngestionSettings

__all__ = [
    "DeleteDocument",
    "DocumentDeleted",
    "DocumentProcessed",
    "DocumentProgress",
    "IngestionService",
    "IngestionServiceClient",
    "IngestionSettings",
    "ProcessDocument",
    "TooManyDocuments",
]
