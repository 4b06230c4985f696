"""What every role of ours runs on: the event loop, and the word of the run that started it."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading
from collections.abc import Coroutine
from typing import Any, NoReturn


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a role to its end, on uvloop where it is installed, as in production."""
    try:
        import uvloop
    except ImportError:
        import asyncio

        return asyncio.run(main)
    return uvloop.run(main)


def leave_alone_what_is_loaded() -> None:
    """As `nooble worker` does before it works: modules and classes are not looked through for garbage."""
    gc.collect()
    gc.freeze()


def obey() -> threading.Event:
    """Set once standard input says ``go``; the process ends with its standard input: none outlives a run."""
    told = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "go":
                told.set()
        os._exit(3)

    threading.Thread(target=listen, daemon=True).start()
    return told


def cpu_s() -> float:
    """CPU seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(result: Any) -> NoReturn:
    """Print what was measured and end; the thread that listens would be waited for."""
    print(json.dumps(result), flush=True)
    os._exit(0)
