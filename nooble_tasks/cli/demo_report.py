"""The demo's result: is every action accounted for, were the limits kept, was nobody starved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nooble_tasks._engine import Policy

from .demo_ledger import CANCELLED, COMPLETED, EXPIRED, FAILED, OPEN, Ledger
from .demo_plan import TenantPlan
from .demo_watch import ASKED_DOMAINS, Watch
from .figures import quantile

_SEEN_LATE_MS = 1_000
"""A worker notes a start when the reply to its claim is read, up to about this long after the decision."""


@dataclass(frozen=True, slots=True)
class TierReport:
    """One tier. `held_times`: how often a limit stopped a tenant; `held_at_end`: actions a limit still held
    when the demo stopped; they were cancelled, like what else had not started. Times in milliseconds."""

    tier: str
    tenants: int
    accepted: int
    done: int
    failed: int
    cancelled: int
    expired: int
    held_times: int
    held_at_end: int
    queue_ms_p50: float | None
    queue_ms_p99: float | None
    questions_answered: int
    passage_found: int


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and what speaks for or against it."""

    name: str
    kept: bool
    evidence: str


@dataclass(slots=True)
class Report:
    """Everything the demo has to say at its end."""

    tiers: list[TierReport]
    checks: list[Check]
    seconds: float
    documents: int
    megabytes: float
    progress_callbacks: int
    errors: dict[str, int]
    samples: list[dict[str, Any]] = field(default_factory=list)
    ok: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


def tier_reports(
    plans: Sequence[TenantPlan], ledger: Ledger, watch: Watch, held_at_end: dict[str, int]
) -> list[TierReport]:
    """Per tier, best first."""
    reports = []
    for tier in watch.engine.policy.names():
        outcomes = ledger.outcomes(tier=tier)
        waited = watch.queue_ms[tier]
        answers = [answer for answer in ledger.answers if answer.tier == tier]
        held = sum(row.held_times for c in watch.counts.values() for row in c.tiers if row.tier == tier)
        reports.append(
            TierReport(
                tier=tier,
                tenants=sum(plan.tier == tier for plan in plans),
                accepted=outcomes.total(),
                done=outcomes[COMPLETED],
                failed=outcomes[FAILED],
                cancelled=outcomes[CANCELLED],
                expired=outcomes[EXPIRED],
                held_times=held,
                held_at_end=held_at_end.get(tier, 0),
                queue_ms_p50=quantile(waited, 0.5),
                queue_ms_p99=quantile(waited, 0.99),
                questions_answered=len(answers),
                passage_found=sum(answer.found for answer in answers),
            )
        )
    return [report for report in reports if report.tenants]


def checks(plans: Sequence[TenantPlan], ledger: Ledger, watch: Watch) -> list[Check]:
    """All promises of the demo."""
    return [
        _answered_once(ledger),
        _server_agrees(ledger, watch),
        limits_kept(watch.engine.policy, watch.starts),
        _nothing_starved(plans, watch),
    ]


def _answered_once(ledger: Ledger) -> Check:
    outcomes, twice = ledger.outcomes(), ledger.answered_twice()
    parts = " + ".join(
        f"{outcomes[name]:,} {name}" for name in (COMPLETED, FAILED, CANCELLED, EXPIRED) if outcomes[name]
    )
    evidence = f"{parts or 0} = {outcomes.total() - outcomes[OPEN]:,} of {outcomes.total():,} accepted"
    if outcomes[OPEN]:
        evidence += f"; {outcomes[OPEN]:,} have no answer"
    if twice:
        evidence += f"; {twice:,} were answered twice"
    return Check("every action accounted for", not outcomes[OPEN] and not twice, evidence)


def _server_agrees(ledger: Ledger, watch: Watch) -> Check:
    """What clients sent and were told is what the server counted; what services asked has ended too."""
    differences = []
    for domain in watch.domains:
        counted = watch.balance(domain)
        ended = sum(counted.values()) - counted["enqueued"]
        if ended != counted["enqueued"]:
            differences.append(f"{domain}: {counted['enqueued']:,} enqueued, {ended:,} ended")
        if domain in ASKED_DOMAINS:
            own = ledger.outcomes(domain=domain)
            differences += [
                f"{domain}: {counted[name]:,} {name}, told of {own[name]:,}"
                for name in (COMPLETED, FAILED, CANCELLED, EXPIRED)
                if own[name] != counted[name]
            ]
    nested = watch.balance("embedding")["enqueued"] if "embedding" in watch.domains else 0
    evidence = "; ".join(differences) or f"and {nested:,} actions between services ended too"
    return Check("the server's counters agree", not differences, evidence)


def limits_kept(policy: Policy, starts: dict[tuple[str, str, str], list[int]]) -> Check:
    """No tenant started more than a limit of its tier allows, in any window of that limit's length."""
    worst, broken, checked = 0.0, [], 0
    for (domain, tier, tenant_id), moments in starts.items():
        compiled = next(row for row in policy.compile(domain).tiers if row.name == tier)
        for limit in compiled.limits:
            checked += 1
            most = most_within(moments, max(limit.window_ms - _SEEN_LATE_MS, 0))
            worst = max(worst, most / limit.amount)
            if most > limit.amount:
                broken.append(f"{tenant_id} started {most} in {domain}, limit {limit.name}")
    if broken:
        return Check("limits kept", False, "; ".join(broken[:3]))
    return Check(
        "limits kept",
        True,
        f"{checked} limits of tenants checked, fullest window at {worst:.0%} of its limit",
    )


def most_within(moments: Sequence[int], window_ms: int) -> int:
    """The largest number of moments in any window of that length."""
    ordered, most, first = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def _nothing_starved(plans: Sequence[TenantPlan], watch: Watch) -> Check:
    started = {tenant_id for (domain, _, tenant_id) in watch.starts if domain in ASKED_DOMAINS}
    starved = [plan.tenant_id for plan in plans if plan.tenant_id not in started]
    tiers = {plan.tier for plan in plans if plan.tenant_id in started}
    if starved:
        return Check("nothing starved", False, f"no start for {', '.join(starved[:5])}")
    return Check("nothing starved", True, f"{len(plans)} tenants of {len(tiers)} tiers were all served")
