"""The process between an owner and its server: when the owner ends, however it ends, the server ends.

Started by `embedded.py` as a plain script (standard library only, so it costs little); never imported by it.
The owner holds the other end of our standard input. The kernel closes it even when the owner is killed
with SIGKILL, and end of file is our order to stop. Being the server's parent, we can signal it without
the risk that its process id belongs to someone else by now.

    stdin    never written to; end of file = stop the server, clean up, leave
    stdout   one line, the server's process id
    argv[1]  JSON: command, log, lock_fd, scraps (files to delete), temporary_folder (or ""), grace (seconds)
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn


class _SigtermError(Exception):
    """SIGTERM: treated like the owner's end."""


def _on_sigterm(_signum: int, _frame: object) -> NoReturn:
    raise _SigtermError


def main(order: dict[str, Any]) -> int:
    """Run one server until it or its owner ends; returns its exit status (128 + n: ended by signal n)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle, after its workers
    signal.signal(signal.SIGTERM, _on_sigterm)
    # The server inherits one end of this pipe and nothing else does: end of file = the server is gone.
    server_gone, held_by_server = os.pipe()
    with Path(order["log"]).open("wb") as log:
        try:
            server = subprocess.Popen(
                order["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # The lock on the folder lives as long as a process that can write into the folder.
                pass_fds=(order["lock_fd"], held_by_server),
            )
        except OSError as error:
            log.write(f"{order['command'][0]} does not start: {error}\n".encode())
            return 127
    os.close(held_by_server)

    owner_gone, temporary = True, order["temporary_folder"]
    try:
        print(server.pid, flush=True)
        ready, _, _ = select.select([sys.stdin.fileno(), server_gone], [], [])
        owner_gone = sys.stdin.fileno() in ready
    except (_SigtermError, BrokenPipeError):
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A temporary server's data goes with it: nothing to write first.
    status = _end(server, grace=0 if temporary and owner_gone else order["grace"])
    for scrap in order["scraps"]:
        Path(scrap).unlink(missing_ok=True)
    # A server that crashed leaves its data to the owner, who may start it again.
    if temporary and owner_gone:
        shutil.rmtree(temporary, ignore_errors=True)
    return status if status >= 0 else 128 - status


def _end(server: subprocess.Popen[bytes], grace: float) -> int:
    """Ask the server to end (it writes what it holds to disk first); insist after `grace` seconds."""
    if grace > 0:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return server.wait(timeout=grace)
    server.kill()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
