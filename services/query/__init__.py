"""Questions to the nearest passages."""

from .client import QueryServiceClient
from .models import FoundPassage, FoundPassages, SearchPassages
from .service import QueryService
from .settings import QuerySettings

__all__ = [
    "FoundPassage",
    "FoundPassages",
    "QueryService",
    "QueryServiceClient",
    "QuerySettings",
    "SearchPassages",
]
