"""The supervisor with small programs of its own: what it restarts, gives up, and how it ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from nooble_tasks.cli.procfile import ProcessSpec
from nooble_tasks.cli.supervisor import RestartPolicy, Supervisor, how_it_ended

FAST = RestartPolicy(backoff_s=(0.01,), quick_s=60.0, give_up=3)
Supervise = Callable[..., tuple[Supervisor, "asyncio.Task[bool]"]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def program(name: str, code: str) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", code), {})


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  other processes do not signal
            await asyncio.sleep(0.01)


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def supervise(tmp_path: Path, lines: list[tuple[str, str]]) -> AsyncIterator[Supervise]:
    started: list[tuple[Supervisor, asyncio.Task[bool]]] = []

    def start(
        *specs: ProcessSpec, grace_s: float = 10.0, on_death: Callable[[int], Awaitable[bool]] | None = None
    ) -> tuple[Supervisor, asyncio.Task[bool]]:
        supervisor = Supervisor(
            specs,
            environment=dict(os.environ),
            folder=tmp_path,
            emit=lambda name, line: lines.append((name, line)),
            grace_s=grace_s,
            restarts=FAST,
            on_death=on_death,
        )
        started.append((supervisor, asyncio.create_task(supervisor.run())))
        return started[-1]

    yield start
    for supervisor, task in started:
        supervisor.stop()
        supervisor.stop()
        await task


SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


async def test_what_crashes_is_started_again(
    supervise: Supervise, lines: list[tuple[str, str]], tmp_path: Path
) -> None:
    crash_twice = (
        "import pathlib, sys, time\n"
        "p = pathlib.Path('times'); n = int(p.read_text()) if p.exists() else 0\n"
        "p.write_text(str(n + 1))\n"
        "if n < 2: sys.exit(7)\n"
        "print('works', flush=True); time.sleep(600)"
    )
    supervise(program("flaky", crash_twice))
    await until(lambda: ("flaky", "works") in lines)
    assert [line for name, line in lines if not name] == [
        "flaky ended with exit code 7; it restarts in 0.01 s"
    ] * 2


async def test_a_killed_process_comes_back_with_another_pid(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    supervisor, _ = supervise(program("worker", SLEEPER))
    await until(lambda: ("worker", "up") in lines)
    first = supervisor.pids["worker"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: lines.count(("worker", "up")) == 2)
    assert supervisor.pids["worker"] != first
    assert any("was killed by SIGKILL" in line for _, line in lines)


async def test_what_always_crashes_is_given_up_and_everything_ends(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    supervisor, running = supervise(program("good", SLEEPER), program("bad", "raise SystemExit(1)"))
    assert await asyncio.wait_for(running, 20) is False
    assert supervisor.given_up == "bad"
    assert not supervisor.pids
    assert any("3 times in a row: given up" in line for _, line in lines)


async def test_what_dies_of_its_work_is_started_again_however_often(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    """An action that kills its workers must not end the others; one that cannot start still does."""
    deaths = 0

    async def of_its_work(_: int) -> bool:
        nonlocal deaths
        deaths += 1
        return deaths <= 3 * FAST.give_up

    _, running = supervise(program("mortal", "raise SystemExit(1)"), on_death=of_its_work)
    assert await asyncio.wait_for(running, 30) is False
    assert deaths == 3 * FAST.give_up + 1
    assert sum("it restarts in" in line for _, line in lines) == 3 * FAST.give_up


async def test_what_follows_a_death_waits_for_no_output(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    """A stranger outside of the group may hold the pipe open."""
    order: list[str] = []
    stranger = (
        "import os, subprocess, sys\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "held = subprocess.Popen(sleep, start_new_session=True)\n"
        "print(held.pid, flush=True); os._exit(3)"
    )

    async def on_death(_: int) -> bool:
        order.append("death")
        return False

    _, running = supervise(program("parent", stranger), on_death=on_death)
    await until(lambda: bool(order))
    assert not [line for _, line in lines if "ended with exit code" in line], "its output is still awaited"
    await asyncio.wait_for(running, 30)
    for name, line in lines:
        if name == "parent":
            os.kill(int(line), signal.SIGKILL)


async def test_a_stopped_process_ends_gracefully(
    supervise: Supervise, lines: list[tuple[str, str]], tmp_path: Path
) -> None:
    graceful = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('ended').write_text('well'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)"
    )
    supervisor, running = supervise(program("frozen", graceful))
    await until(lambda: ("frozen", "up") in lines)
    os.kill(supervisor.pids["frozen"], signal.SIGSTOP)
    supervisor.stop()
    assert await asyncio.wait_for(running, 20) is True
    assert (tmp_path / "ended").read_text() == "well"


async def test_a_program_that_does_not_exist_is_given_up_at_once(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    _, running = supervise(ProcessSpec("wrong", ("no-such-program-here",), {}))
    assert await asyncio.wait_for(running, 20) is False
    assert ("wrong", "no-such-program-here cannot be started: No such file or directory") in lines
    assert sum("given up" in line for _, line in lines) == 1


async def test_it_ends_when_all_have_ended_well(supervise: Supervise, lines: list[tuple[str, str]]) -> None:
    _, running = supervise(program("one", "print('1')"), program("two", "print('2', end='')"))
    assert await asyncio.wait_for(running, 20) is True
    assert {("one", "1"), ("two", "2")} <= set(lines)


async def test_stop_is_graceful_and_reaches_grandchildren(
    supervise: Supervise, lines: list[tuple[str, str]], tmp_path: Path
) -> None:
    grandchild = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): time.sleep(0.2); pathlib.Path('ended').write_text('well'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); time.sleep(600)"
    )
    (tmp_path / "grandchild.py").write_text(grandchild)
    shell = ProcessSpec("shell", ("/bin/sh", "-c", f"{sys.executable} grandchild.py; true"), {})
    supervisor, running = supervise(shell)
    await until(lambda: ("shell", "up") in lines)
    supervisor.stop()
    assert await asyncio.wait_for(running, 20) is True
    assert (tmp_path / "ended").read_text() == "well", "the shell ended first; its child had its grace"


async def test_who_does_not_listen_is_killed_after_the_grace(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(600)"
    )
    supervisor, running = supervise(program("deaf", deaf), grace_s=0.2)
    await until(lambda: ("deaf", "up") in lines)
    pid = supervisor.pids["deaf"]
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    assert not alive(pid)


async def test_reload_restarts_without_counting_a_crash(
    supervise: Supervise, lines: list[tuple[str, str]]
) -> None:
    supervisor, _ = supervise(program("worker", SLEEPER))
    for times in range(1, FAST.give_up + 2):
        await until(lambda times=times: lines.count(("worker", "up")) == times)  # type: ignore[misc]
        await supervisor.reload()
    await until(lambda: lines.count(("worker", "up")) == FAST.give_up + 2)
    assert not supervisor.given_up


async def test_very_long_lines_and_odd_bytes_pass(supervise: Supervise, lines: list[tuple[str, str]]) -> None:
    code = "import os; os.write(1, b'x' * 300_000 + b'\\n' + b'\\xff\\xfe\\n')"
    _, running = supervise(program("loud", code))
    await asyncio.wait_for(running, 20)
    said = [line for name, line in lines if name == "loud"]
    assert sum(line.count("x") for line in said) == 300_000
    assert said[-1] == "\ufffd\ufffd"


def test_ends_in_words() -> None:
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(-9) == "was killed by SIGKILL"
