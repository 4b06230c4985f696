"""What the fault tests share: seeds that are printed, a policy, a book-keeping client, a crew of workers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.faults.crew import Crew
from tests.faults.doses import FULL, SEED
from tests.faults.ledger import Ledger

HERE = Path(__file__).parent
FULL_TIMEOUT_S = 7_200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)
            if FULL:
                item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and HERE in item.path.parents:
        report.sections.append(("seed", f"repeat with NOOBLE_TEST_FAULTS_SEED={SEED}"))
    return report


@pytest.fixture
def chance() -> random.Random:
    """Every random choice of a fault test comes from here."""
    return random.Random(SEED)


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    async with Ledger.opened(redis_url) as ledger:
        yield ledger


@pytest.fixture
def crew(redis_url: str) -> Iterator[Crew]:
    with Crew(redis_url) as crew:
        yield crew
