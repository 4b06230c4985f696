"""A rolling upgrade: workers of an earlier version and of this one serve the same domain, and both die.

The earlier one is the newest release, or before the first release the last commit with other scripts than
this one's. NOOBLE_TEST_EARLIER names another commit.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.faults import running
from tests.faults.crew import PATIENCE_S, Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, FEW

ROOT = Path(__file__).parents[2]
KILLS, ACTIONS = dose(6, 150), dose(600, 20_000)
CONCURRENCY = 20
WORKER = "import json, sys; from tests.faults.crew import work; work(*json.loads(sys.argv[1]))"


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=True).stdout.strip()


def earlier_commit() -> str:
    """Raises CalledProcessError where there is none."""
    if named := os.environ.get("NOOBLE_TEST_EARLIER"):
        return named
    if releases := git("tag", "--list", "v*", "--sort=-creatordate").decode().split():
        return releases[0]
    changed = git("log", "-1", "--format=%H", "--", "scheduler/scripts").decode()
    return git("rev-parse", "--verify", f"{changed}~1").decode()


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with the packages as they were."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("no history here: the earlier version comes from git")
    try:
        packed = subprocess.run(
            ["git", "-C", ROOT, "archive", earlier_commit(), "nooble_tasks", "scheduler", "config"],
            capture_output=True,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no earlier version in this history: {error.stderr!r}")
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(tmp_path / "earlier", filter="data")
    return tmp_path / "earlier"


class EarlierCrew:
    """Workers of the earlier version. Whoever is left when the block ends is killed."""

    def __init__(self, crew: Crew, packages: Path) -> None:
        self.crew, self.members = crew, list[subprocess.Popen[bytes]]()
        self.environment = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}

    def hire(self) -> None:
        order = json.dumps([self.crew.url, self.crew.policy_file, CONCURRENCY, {}])
        # Not in the checkout's folder: it would come first among the places that packages are taken from.
        self.members.append(
            subprocess.Popen([sys.executable, "-P", "-c", WORKER, order], env=self.environment, cwd="/")
        )

    def kill(self, member: subprocess.Popen[bytes]) -> None:
        self.members.remove(member)
        member.kill()
        member.wait(PATIENCE_S)


@pytest.fixture
def earlier_crew(crew: Crew, earlier: Path) -> Iterator[EarlierCrew]:
    workers = EarlierCrew(crew, earlier)
    yield workers
    for member in list(workers.members):
        workers.kill(member)


async def test_two_versions_share_the_work_and_die(
    ledger: Ledger, crew: Crew, earlier_crew: EarlierCrew, chance: random.Random
) -> None:
    """Each understands what the other left: nothing is lost, nothing is answered twice, limits hold."""
    for _ in range(2):
        crew.hire(concurrency=CONCURRENCY)
        earlier_crew.hire()
    batch = ACTIONS // KILLS
    streams = [f"{DOMAIN}:tenant-{number}:few" for number in range(10)]
    async with running.sampled(ledger.redis, streams) as at_once:
        await kill_both(ledger, crew, earlier_crew, chance, batch)
    assert max(at_once.values()) <= FEW
    for member in list(crew.members):  # and the earlier ones must be able to end it alone
        crew.kill(member)
    await ledger.send(20)
    await ledger.check(extra_runs=(KILLS + 2) * CONCURRENCY)
    assert all(member.poll() is None for member in earlier_crew.members)


async def kill_both(
    ledger: Ledger, crew: Crew, earlier_crew: EarlierCrew, chance: random.Random, batch: int
) -> None:
    """Now one of these, now one of those."""
    for _ in range(KILLS):
        await ledger.send(batch - 2 * (batch // 10), takes_s=0.005)
        await ledger.send(batch // 10, tier="narrow", takes_s=0.005)
        await ledger.send(batch // 10, tier="few", takes_s=0.06)
        await ledger.until_ended(len(ledger.accepted) - batch)
        if chance.random() < 0.5:
            crew.kill(chance.choice(crew.members))
            crew.hire(concurrency=CONCURRENCY)
        else:
            earlier_crew.kill(chance.choice(earlier_crew.members))
            earlier_crew.hire()
