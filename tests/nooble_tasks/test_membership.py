"""A worker's membership: words about a lease that has been given up change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nooble_tasks import CommonAppSettings, membership
from nooble_tasks._engine import roster, scripts
from nooble_tasks.bus import Bus
from nooble_tasks.heartbeat import Heartbeat
from nooble_tasks.membership import Membership
from nooble_tasks.phase import Phase


def a_member(redis: Any, on_lost: Callable[[str], None] = lambda domain: None) -> tuple[Bus, Membership]:
    """A worker's, in the domain `some`; and the bus it is on."""
    bus = Bus.of(redis, CommonAppSettings(service_name="some_service", domain_name="some"))
    member = Membership(
        bus,
        "some_worker",
        ["some"],
        owns_something=lambda: True,
        deliver=lambda domain, message: None,
        on_lost=on_lost,
        about=dict,
    )
    return bus, member


async def test_a_late_word_about_an_earlier_lease_is_not_about_this_one(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat that hung in a call for longer than is waited for it speaks when the next one beats."""
    words: list[Any] = []

    class Talkative(Heartbeat):
        def __init__(self, *args: Any, **values: Any) -> None:
            words.append(values["on_lost"])
            super().__init__(*args, **values)

    monkeypatch.setattr(membership, "Heartbeat", Talkative)
    lost: list[str] = []
    bus, member = a_member(redis, lost.append)
    await bus.ready()
    try:
        await member.join()
        await member.join()
        words[0]("some")
        await asyncio.sleep(0)
        assert lost == []
        words[1]("some")
        await asyncio.sleep(0)
        assert lost == ["some"]
    finally:
        await member.part()
        await bus.close()


async def test_who_is_quieted_while_it_joins_is_said_to_be_quiet(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, member = a_member(redis)
    describe, phase, said = roster.describe, Phase(1.0, lambda: member.announce(phase)), asyncio.Event()

    async def described(*args: Any, claims: bool) -> None:
        await describe(*args, claims=claims)
        if claims:
            phase.quiet()  # the word that it claims is out already
        else:
            said.set()

    monkeypatch.setattr(roster, "describe", described)
    await bus.ready()
    try:
        await member.join()
        await asyncio.wait_for(said.wait(), 5)
    finally:
        await member.part()
        await bus.close()


async def test_scripts_are_composed_before_the_worker_runs(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a worker's start waits for Redis alone."""
    scripts.load.cache_clear()
    a_member(redis)

    def read(name: str) -> str:
        raise AssertionError(f"{name} is read only now")

    monkeypatch.setattr(scripts, "_read", read)
    for verb in ("extend", "claim", "finish", "release"):
        assert scripts.load(verb).text
