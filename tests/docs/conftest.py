"""Commands run inside the tests of the documents too."""

from __future__ import annotations

from tests.nooble_tasks.conftest import nooble

__all__ = ["nooble"]
