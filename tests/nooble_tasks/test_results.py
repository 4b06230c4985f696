"""What a handler returns and JSON cannot carry: answer and dead letter name the place and the type."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import pytest
from pydantic import BaseModel, field_serializer

from nooble_tasks import DomainActionResponse
from nooble_tasks._engine import Outcome
from tests.nooble_tasks.test_executor import end_of, error


class Moment(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    when: Any

    @field_serializer("when")
    def _write(self, when: Any) -> Any:
        if when == "never":
            raise LookupError("no such day")
        return when


@dataclass
class Page:
    items: list[Any]


@pytest.mark.parametrize(
    ("result", "path", "kind"),
    [
        (Page([1, 2, 3, Moment(when=UTC)]), "result.items[3].when", "datetime.timezone"),
        (Page([{"at": Page([{1, 2}, threading.Lock()])}]), "result.items[0].at.items[1]", "_thread.lock"),
        (deque([1, float("nan")]), "result[1]", "nan"),
        (Moment(when="never"), "result", "fails to write itself"),
        (Page([Moment(when="now"), Moment(when="never")]), "result.items[1]", "no such day"),
        ([{"a b": object}], "result[0]['a b']", "builtins.type"),
        ({"n": "\ud800"}, "result.n", "lone surrogate"),
        (DomainActionResponse(success=True, data={"x": [object()]}), "result.x[0]", "builtins.object"),
    ],
    ids=repr,
)
async def test_the_place_and_the_type_of_what_cannot_be_sent(result: Any, path: str, kind: str) -> None:
    finish = await end_of(result)
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "payload_not_serializable")
    assert error(finish).details["path"] == path
    assert f"{path} " in error(finish).message
    assert kind in error(finish).message
    assert error(finish).message in finish.reason
