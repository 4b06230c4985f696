"""The fixtures that watch for leaks do fail when something leaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

LEAKY = """
import asyncio
import redis.asyncio

kept = []

async def test_clean(redis, expect_clean_keys):
    await redis.set("nooble:shop:policy", "kept by design")
    await redis.set("answer", "expires", ex=60)
    expect_clean_keys()

async def test_key(redis, expect_clean_keys):
    await redis.set("forgotten-key", "1")
    expect_clean_keys()

async def test_key_allowed(redis, expect_clean_keys):
    await redis.set("special-key", "1")
    expect_clean_keys("special-*")

async def test_task(redis):
    kept.append(asyncio.create_task(asyncio.sleep(3600), name="forgotten-task"))

async def test_connection(redis_url):
    kept.append(redis.asyncio.Redis.from_url(redis_url, protocol=2, client_name="forgotten-connection"))
    await kept[-1].ping()

async def test_next_one_is_not_blamed(redis):
    assert await redis.dbsize() == 0
"""


def test_leaks_are_found_and_named(tmp_path: Path) -> None:
    leaky = tmp_path / "test_leaky.py"
    leaky.write_text(LEAKY)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(leaky), "--rootdir", str(tmp_path)),
            *("-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-W", "ignore::ResourceWarning"),  # what leaks on purpose must not end the run before its time
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = run.stdout + run.stderr
    assert "6 passed, 3 errors" in output, output
    for culprit in ("['forgotten-key']", "forgotten-task", "forgotten-connection"):
        assert culprit in output
