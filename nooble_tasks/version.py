"""Which release of nooble-tasks this is."""

from __future__ import annotations

VERSION = "0.1.0"
