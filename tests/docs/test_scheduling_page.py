"""docs/scheduling.md: its example runs, on the oracle and on a server, and every test it names exists."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Policy
from tests.scheduler.world import World, new

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "scheduling.md").read_text(encoding="utf-8")
LAWS = 12


def example() -> tuple[str, str]:
    found = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1], found[2]


def test_the_example_prints_what_the_page_shows() -> None:
    code, shown = example()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    assert printed.getvalue() == shown


async def test_a_server_starts_them_in_the_same_order(redis: Redis) -> None:
    code, shown = example()
    toml = re.search(r'Policy.parse\("""\n(.*?)"""', code, re.DOTALL)
    assert toml
    world = World(redis, Policy.parse(toml[1]))
    await world.worker("w1")
    started: list[str] = []

    async def serve(count: int) -> None:
        for _ in range(count):
            started.extend(await world.claim_ids(slots=1))

    async def send(tenant: str, tier: str, count: int) -> None:
        await world.enqueue(*(new(f"{tenant}-{n}", tenant, tier) for n in range(count)))

    steps: dict[str, Any] = {"send": send, "serve": serve}
    for verb, arguments in re.findall(r"^(send|serve)\((.*)\)$", code, re.MULTILINE):
        await steps[verb](*(int(a) if a.isdigit() else a.strip('"') for a in arguments.split(", ")))
    assert started == shown.split()[: len(started)]
    assert len(started) == 16


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", TEXT))))
def test_every_test_it_names_exists(name: str) -> None:
    path, _, function = name.partition("::")
    code = (ROOT / path).read_text(encoding="utf-8")
    assert not function or re.search(rf"^(async )?def {function}\(", code, re.MULTILINE)


def test_every_law_has_its_tests() -> None:
    rows = re.findall(r"^\| (\d+) [\w -]+ \| (.+) \|$", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, LAWS + 1))
    assert all("`tests/" in tests for _, tests in rows)


def test_every_file_of_the_laws_is_named() -> None:
    files = {path.name for path in (ROOT / "tests" / "laws").glob("test_*.py")}
    assert not {name for name in files if f"tests/laws/{name}" not in TEXT}
