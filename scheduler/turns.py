"""The turns of one claim: tier, tenant, action, until its slots are given away. In plain Python, without I/O.

The rules are explained in :mod:`scheduler.fairness`.
"""

from __future__ import annotations

from .binding import NamedLimits
from .fairness import ONE_START, Tier
from .lines import Action, Aside, Line


def quantum(slots: int) -> int:
    """Starts of one tenant in a row in a claim of ``slots``: 1 below 12 slots, at most 8."""
    return max(1, min(8, slots // 6))


def choose(tiers: list[Tier], now_ms: int, in_a_row: int) -> tuple[Tier, Line] | None:
    """Which tier, and which of its tenants, gets the next slot."""
    startable: list[tuple[Tier, Line]] = []
    for tier in tiers:
        line = tier.next_line(now_ms, in_a_row) if tier.room else None
        if line:
            startable.append((tier, line))
            tier.credit += tier.policy.share
        else:
            tier.credit = 0
    owed = [pair for pair in startable if pair[0].policy.share and pair[0].credit >= ONE_START]
    if owed:
        return max(owed, key=lambda pair: pair[0].credit)
    return startable[0] if startable else None


def plan(tiers: list[Tier], slots: int, now_ms: int, in_a_row: int) -> None:
    """Give away ``slots`` one by one; every line then knows how many of its actions are to start."""
    for tier in tiers:
        tier.turn = None
    for _ in range(slots):
        chosen = choose(tiers, now_ms, in_a_row)
        if not chosen:
            return
        tier, line = chosen
        tier.turn = line
        if not line.planned:
            line.planned_charge = tier.charge_of(line)
            tier.touched.append(line)
        line.planned += 1
        tier.running.planned[line.tenant] += 1
        tier.room -= 1
        line.tag += line.planned_charge
        tier.credit = max(tier.credit - ONE_START, 0)


def hand_out(tiers: list[Tier], slots: int, now_ms: int, named: NamedLimits) -> list[Action]:
    """Plan and read. Where actions of a paused type were in the way, somebody else gets the slot."""
    for tier in tiers:
        tier.begin(slots, now_ms)
    aside, handed, wanted = Aside(), list[Action](), slots
    while wanted:
        plan(tiers, wanted, now_ms, quantum(slots))
        wanted = 0
        for tier in tiers:
            actions, unused = tier.hand_over(now_ms, named, aside)
            handed += actions
            wanted += unused
        wanted = wanted if aside.left > 0 else 0
    return handed
