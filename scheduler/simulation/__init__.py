"""What would this policy do? The shipping scripts on a server of one's own, under virtual time.

A load (:mod:`.workload` makes one of a scenario, :mod:`.trace` reads one from a file) is played by
:mod:`.runner` on any empty server: the engine and its scripts decide, a clock by hand jumps from one event to
the next. There is no second implementation of the scheduler here. :mod:`.report` says what came of it,
:mod:`.fleet` searches how many workers a target needs.

What is simulated is waiting, not failing: every attempt completes after its run time, or is cut off by its
tier's timeout; there are no retries, and a round trip to the server takes no time.
"""

from .arrivals import Arrival, Load
from .errors import OptionError, ScenarioError, SimulationError, TraceError
from .fleet import Target, parse_target, smallest_fleet
from .report import Report, TenantReport, TierReport, report_on
from .runner import Fleet, Simulated, simulate
from .spans import span_ms
from .tier_rules import TierRule, parse_tier_rule
from .trace import TraceFormat, read_trace
from .workload import Scenario

__all__ = [
    "Arrival",
    "Fleet",
    "Load",
    "OptionError",
    "Report",
    "Scenario",
    "ScenarioError",
    "Simulated",
    "SimulationError",
    "Target",
    "TenantReport",
    "TierReport",
    "TierRule",
    "TraceError",
    "TraceFormat",
    "parse_target",
    "parse_tier_rule",
    "read_trace",
    "report_on",
    "simulate",
    "smallest_fleet",
    "span_ms",
]
