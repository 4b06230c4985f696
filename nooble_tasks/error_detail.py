"""What went wrong, as it travels between processes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ErrorDetail(BaseModel):
    """What went wrong, as it travels: the same dictionary on the bus and over HTTP."""

    model_config = ConfigDict(extra="ignore", ser_json_inf_nan="constants")

    type: str = "Error"
    code: str = "error"
    message: str
    details: dict[str, Any] = Field(default_factory=dict)
    retryable: bool = False

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dictionary's get."""
        return self[name] if name in type(self).model_fields else default

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that both the bus and HTTP carry."""
        return self.model_dump(mode="json")
