"""What a run shall measure, and a step of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .peers import OURS, Peer
from .processes import RoleFailedError, Row, role
from .server import usage

Rows = dict[str, Row]


@dataclass
class Plan:
    """The sizes of a run, and the rivals in it; one that fails is left out from then on."""

    url: str
    rivals: list[str]
    count: int = 20_000
    rival_count: int = 3_000
    window_s: float = 20.0
    give_up_s: float = 75.0
    failures: dict[str, str] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)

    def peers(self) -> list[Peer]:
        """The rivals that have not failed."""
        return [Peer(name) for name in self.rivals if name not in self.failures]

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is being stopped."""
        if self.stopped.wait(seconds):
            raise RoleFailedError("stopped")


class Step(NamedTuple):
    """A part of a round."""

    name: str
    call: Callable[[], Rows]
    rival: str = ""
    """Whose step it is: a rival may fail without ending the run."""


class Scenario(NamedTuple):
    """Steps that are repeated in every round."""

    name: str
    title: str
    legend: str
    steps: Callable[[Plan], list[Step]]
    most_rounds: int = 100


def run_module(module: str, *arguments: object, limit_s: float = 300.0) -> Any:
    """Run a module of ours as a process; what it measured."""
    with role([sys.executable, "-m", module, *arguments]) as process:
        return process.row(limit_s)


def measured(url: str, count: int, call: Callable[[], Row]) -> Row:
    """What ``call`` measured, and the server's CPU per action meanwhile (µs)."""
    before = usage(url)
    row = call()
    row["server_us"] = (usage(url).cpu_s - before.cpu_s) / count * 1e6
    return row


def together(plan: Plan, one: Callable[[Peer], Row]) -> Rows:
    """Measure all peers at once, where all of them mostly wait; those that fail are noted."""
    peers, rows = [OURS, *plan.peers()], Rows()
    with ThreadPoolExecutor(len(peers)) as pool:
        try:
            for peer, done in [(peer, pool.submit(one, peer)) for peer in peers]:
                try:
                    rows["ours, 100" if peer == OURS else peer.name] = done.result()
                except RoleFailedError as error:
                    if peer == OURS:
                        raise
                    plan.failures[peer.name] = str(error)
        except BaseException:
            plan.stopped.set()
            raise
    return rows
