"""Who sits at the terminal."""

from __future__ import annotations


def login() -> str:
    """The login name, `unknown` where there is none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return "unknown"
