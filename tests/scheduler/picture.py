"""What a snapshot of a domain must satisfy, alone and beside the oracle."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from scheduler import State
from scheduler.lines import Line
from scheduler.oracle import Oracle


class Picture:
    """A snapshot with names for its parts."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys = keys
        self.waiting = {name: int(count) for name, count in keys.get("waiting", {}).items()}
        self.held: dict[str, float] = keys.get("held", {})
        self.actions: dict[str, str] = keys.get("actions", {})
        self.scheduled: dict[str, float] = keys.get("scheduled", {})
        self.workers: dict[str, float] = keys.get("workers", {})
        self.ready = {
            f"{tenant}:{tier}": tag
            for tier, tags in self._many("ready").items()
            for tenant, tag in tags.items()
        }
        self.tags = {
            f"{tenant}:{tier}": tag
            for tier, tags in self._many("tags").items()
            for tenant, tag in tags.items()
        }
        self.streams = {
            name.removeprefix("stream "): value for name, value in keys.items() if name.startswith("stream ")
        }
        self.aside = {
            member.split(" ")[2]: (kind, member.split(" ")[1])
            for kind, members in self._many("set_aside").items()
            for member in members
        }
        self.owned = {
            action: (worker, record.split(" ")[1])
            for worker, records in self._many("owned").items()
            for action, record in records.items()
        }

    def _many(self, name: str) -> dict[str, Any]:
        prefix = name + ":"
        return {key.removeprefix(prefix): v for key, v in self.keys.items() if key.startswith(prefix)}

    def check_laws(self) -> None:
        """Law invariants that hold after any script call, whatever happened before."""
        assert all(count > 0 for count in self.waiting.values()), self.waiting
        assert not set(self.ready) & set(self.held)
        assert set(self.waiting) == set(self.ready) | set(self.held)
        assert set(self.held) == set(self.keys.get("held_why", {}))
        self._every_action_is_in_one_place()
        returned = self._many("returned")
        counts = {name: int(count) for name, count in self.keys.get("returned_count", {}).items()}
        assert counts == returned
        assert all(stream["entries"] for stream in self.streams.values()), "an empty stream stays"
        assert set(self.keys.get("delayed", {})) == {a for a, at in self.actions.items() if at.endswith(" -")}
        later = Counter(at.split(" ")[0] for at in self.actions.values() if at.endswith(" -"))
        assert {name: int(count) for name, count in self.keys.get("delayed_count", {}).items()} == later
        assert set(self.keys.get("attempts", {})) <= set(self.actions)
        assert set(self.keys.get("usage", {})) == set(self.keys.get("usage_due", {}))

    def _every_action_is_in_one_place(self) -> None:
        in_streams: dict[str, int] = dict.fromkeys(self.actions, 0)
        for name, stream in self.streams.items():
            running, parked = stream.get("running", {}), stream.get("parked", {})
            assert {a for a, (_, at) in self.owned.items() if at == name} == set(running)
            assert not set(running) & set(parked)
            later = [a for a in stream["entries"] if a in self.scheduled]
            aside = [a for a, (_, at) in self.aside.items() if at == name]
            assert {*later, *aside} <= set(parked)
            still = len(stream["entries"]) - len(running) - len(later) - len(aside)
            assert self.waiting.get(name, 0) == still
            for action in stream["entries"]:
                in_streams[action] = in_streams.get(action, 0) + 1
        for action, at in self.actions.items():
            delayed = at.endswith(" -")
            assert in_streams[action] == (0 if delayed else 1), f"{action} is in {in_streams[action]} streams"
            assert not delayed or action in self.scheduled
            kind = self.aside.get(action, ("", ""))[0]
            assert at == " ".join([at.split(" ")[0], "-" if delayed else "@", *([kind] if kind else [])])
        assert set(in_streams) == set(self.actions)
        assert set(self.owned) <= set(self.actions)
        assert set(self.aside) <= set(self.actions) - set(self.owned) - set(self.scheduled)

    def check_against(self, oracle: Oracle) -> None:
        """Every state, hold, count, tag and virtual time is what the oracle says."""
        states = {name: self.state_of(name) for name in self.actions}
        assert states == {name: oracle.state(name) for name in oracle.alive}
        fairness = self.keys.get("fairness", {})
        waiting: dict[str, int] = {}
        held: dict[str, tuple[float, str]] = {}
        for name, tier in oracle.tiers.items():
            assert int(fairness.get(f"vt:{name}", 0)) == tier.virtual_time
            assert int(fairness.get(f"credit:{name}", 0)) == tier.credit
            for tenant, line in tier.lines.items():
                self._check_line(f"{tenant}:{name}", line, tier.virtual_time)
                if line.waiting:
                    waiting[f"{tenant}:{name}"] = line.waiting
                if line.held_until is not None:
                    held[f"{tenant}:{name}"] = (line.held_until, line.held_why)
        assert self.waiting == waiting
        why = self.keys.get("held_why", {})
        assert {name: (until, why[name]) for name, until in self.held.items()} == held
        assert self.workers == {name: worker.lease_until_ms for name, worker in oracle.workers.items()}
        assert self.keys.get("unique_holders", {}) == oracle.unique_holders
        registry = {name: text for name, text in self.keys["registry"].items() if name != "*"}
        assert registry == {name: each.wire() for name, each in oracle.register.known.items()}
        assert "moving" not in self.keys
        assert set(self.keys.get("pauses", {})) == oracle.said.paused
        assert self.keys.get("backpressure", {}) == oracle.said.backpressure
        assert set(self.keys.get("overrides", {})) == set(oracle.said.overrides)

    def _check_line(self, name: str, line: Line, virtual_time: int) -> None:
        assert line.ready == (name in self.ready)
        if line.ready:
            assert self.ready[name] == line.tag
        else:
            assert max(self.tags.get(name, -math.inf), virtual_time) == max(line.tag, virtual_time)

    def state_of(self, action: str) -> State:
        """Where an action is, read from the keys alone."""
        stream = self.actions[action].split(" ")[0]
        if action in self.scheduled:
            return State.SCHEDULED
        if action in self.owned:
            return State.RUNNING
        return State.HELD if stream in self.held or action in self.aside else State.READY
