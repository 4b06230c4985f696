"""What can be wrong with a simulation's input.

SimulationError (a SchedulerError)
├── OptionError     an option that makes no sense, whatever the files hold
├── ScenarioError   a scenario file: names the file, the key and the nearest valid one
└── TraceError      a recorded trace: names the file, the row and the column
"""

from __future__ import annotations

from ..errors import SchedulerError


class SimulationError(SchedulerError):
    """A simulation that cannot be run; nothing was."""


class OptionError(SimulationError):
    """An option that cannot be used."""


class ScenarioError(SimulationError):
    """A scenario that cannot be used."""


class TraceError(SimulationError):
    """A trace that cannot be read."""
