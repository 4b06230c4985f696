"""Which changed files mean that running code is out of date."""

from __future__ import annotations

from watchfiles import DefaultFilter
from watchfiles.main import Change


class CodeFilter(DefaultFilter):
    """Python, Lua and TOML files outside of caches, environments and hidden folders."""

    suffixes = (".py", ".lua", ".toml")

    def __call__(self, change: Change, path: str) -> bool:
        """Whether a change of `path` counts."""
        return path.endswith(self.suffixes) and super().__call__(change, path)
