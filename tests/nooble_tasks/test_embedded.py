"""The embedded server: starts on what is there, keeps data, ends with its owner, says what is wrong."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from nooble_tasks.embedded import EmbeddedServer, EmbeddedServerError, ServerBinary, candidates, state_root

SERVERS = [binary for binary in candidates() if binary.is_recent_enough]
PATIENCE_S = 20


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    state = tmp_path_factory.mktemp("s")  # short enough for a socket; tmp_path carries the test's name
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state


@pytest.fixture(params=SERVERS, ids=lambda binary: f"{binary.kind}-{binary.version_text}-{binary.source}")
def binary(request: pytest.FixtureRequest) -> ServerBinary:
    found: ServerBinary = request.param
    return found


@pytest.fixture
def folder() -> Path:
    return state_root() / "shop"


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url, protocol=2, socket_timeout=5, retry=Retry(NoBackoff(), 0), decode_responses=True
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file() or path.is_socket()}


def ended(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    if sys.platform == "linux":
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        ready, _, _ = select.select([handle], [], [], PATIENCE_S)
        os.close(handle)
        return bool(ready)
    return not psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], PATIENCE_S)[1]


def keeper_of(server_pid: int) -> int:
    parent: int = psutil.Process(server_pid).ppid()
    return parent


# -- what a server is like -----------------------------------------------------------------------------------


def test_every_server_program_found_here_can_be_used(binary: ServerBinary) -> None:
    with EmbeddedServer(persist=False, binary=binary.path) as server, client(server.url) as redis_client:
        assert (server.kind, server.version) == (binary.kind, binary.version_text)
        assert redis_client.info("server")["process_id"] == server.pid
        wanted = {
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "lazyfree-lazy-expire": "yes",
            "stream-node-max-bytes": "1024",
        }
        assert {name: redis_client.config_get(name)[name] for name in wanted} == wanted


def test_a_temporary_server_leaves_nothing_behind(binary: ServerBinary) -> None:
    with EmbeddedServer(persist=False, binary=binary.path) as server:
        pid, folder, keeper = server.pid, server.data_folder, keeper_of(server.pid)
        assert server.running
    assert ended(pid)
    assert ended(keeper)
    assert not folder.exists()
    assert not server.running
    assert server.pid == 0
    with pytest.raises(EmbeddedServerError, match="call start"):
        _ = server.url


def test_data_outlives_a_server_and_nothing_else_does(binary: ServerBinary, folder: Path) -> None:
    with EmbeddedServer("shop", binary=binary.path) as server, client(server.url) as redis_client:
        redis_client.xadd("work", {"data": "kept"})
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files(folder) == {"lock", "server.log"}
    with EmbeddedServer("shop", binary=binary.path) as server, client(server.url) as redis_client:
        assert redis_client.xlen("work") == 1


def test_starting_and_stopping_twice_changes_nothing() -> None:
    server = EmbeddedServer(persist=False)
    server.stop()
    server.start()
    pid = server.pid
    assert server.start().pid == pid
    server.stop()
    server.stop()


def test_a_terminal_signal_does_not_reach_the_server() -> None:
    with EmbeddedServer(persist=False) as server:
        assert os.getsid(server.pid) != os.getsid(0)


def test_a_locale_that_is_not_installed_does_not_matter(
    binary: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    with EmbeddedServer(persist=False, binary=binary.path) as server:
        assert server.running


# -- where it listens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("awkward", ["with space", 'with "quotes"', "with\\backslash", "with#hash?and%25"])
def test_a_folder_may_have_any_name(
    awkward: str, own_state: Path, monkeypatch: pytest.MonkeyPatch, binary: ServerBinary
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(own_state / awkward))
    with EmbeddedServer("s", binary=binary.path) as server, client(server.url) as redis_client:
        assert server.url.startswith("unix://")
        assert redis_client.config_get("dir")["dir"] == str(server.data_folder)


def test_a_path_too_long_for_a_socket_gives_a_private_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: ServerBinary
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("deep" * 20)))
    with EmbeddedServer("s", binary=binary.path) as server, client(server.url) as redis_client:
        assert server.url.startswith("redis://:")
        assert redis_client.ping()
        port = server.url.rpartition(":")[2]
        with client(f"redis://127.0.0.1:{port}") as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        connections = psutil.Process(server.pid).net_connections()
        assert {each.laddr.ip for each in connections if each.status == "LISTEN"} == {"127.0.0.1"}


def test_a_busy_port_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=rf"port {port} .*in use.*NOOBLE_REDIS_URL") as caught:
            EmbeddedServer(persist=False, port=port).start()
    assert "choose another" in str(caught.value)


# -- how it ends ---------------------------------------------------------------------------------------------

OWNER = """
import sys
from nooble_tasks.embedded import EmbeddedServer
server = EmbeddedServer("shop", persist=sys.argv[1] == "persist", options={"appendfsync": "always"}).start()
print(server.pid, server.url, server.data_folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["persist", "temporary"])
def owner(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns a server; it stays until its standard input ends."""
    command = [sys.executable, "-c", OWNER, request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def announced(owner: subprocess.Popen[str]) -> tuple[int, str, Path]:
    assert owner.stdout is not None
    pid, url, folder = owner.stdout.readline().split()
    return int(pid), url, Path(folder)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None], ids=["SIGKILL", "SIGTERM", "exit"])
def test_the_server_ends_with_its_owner(owner: subprocess.Popen[str], how: signal.Signals | None) -> None:
    pid, url, folder = announced(owner)
    keeper = keeper_of(pid)
    with client(url) as redis_client:
        redis_client.set("kept", "yes")
    if how is None:
        assert owner.stdin is not None
        owner.stdin.close()
    else:
        owner.send_signal(how)
    assert ended(pid)
    assert ended(keeper)
    if folder == state_root() / "shop":
        assert files(folder) == {"lock", "server.log"}
        with EmbeddedServer("shop") as server, client(server.url) as redis_client:
            assert redis_client.get("kept") == "yes"
    else:
        assert not folder.exists()


@pytest.mark.parametrize("owner", ["persist"], indirect=True)
def test_the_next_owner_waits_for_the_server_of_one_that_was_killed(owner: subprocess.Popen[str]) -> None:
    pid, _, _ = announced(owner)
    owner.kill()
    owner.wait()
    with EmbeddedServer("shop") as server:
        assert server.pid != pid
        assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("persist", [True, False])
def test_the_server_ends_even_if_its_keeper_was_killed(persist: bool) -> None:
    server = EmbeddedServer("shop", persist=persist).start()
    pid, folder = server.pid, server.data_folder
    psutil.Process(keeper_of(pid)).kill()
    server.stop()
    assert ended(pid)
    assert files(folder) == {"lock", "server.log"} if persist else not folder.exists()


@pytest.mark.parametrize("port", [None, 0])
def test_after_a_crash_it_starts_again_with_data_and_address(binary: ServerBinary, port: int | None) -> None:
    options = {"appendfsync": "always"}
    with EmbeddedServer(persist=False, binary=binary.path, port=port, options=options) as server:
        url = server.url
        with client(url) as redis_client:
            redis_client.set("kept", "yes")
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(PATIENCE_S) == 128 + signal.SIGKILL
        assert not server.running
        server.start()
        assert server.url == url
        with client(url) as redis_client:
            assert redis_client.get("kept") == "yes"


def test_waiting_for_the_end_has_a_limit() -> None:
    with EmbeddedServer(persist=False) as server, pytest.raises(TimeoutError, match="still runs"):
        server.wait(0.01)


# -- what stands in its way ----------------------------------------------------------------------------------


def test_leftovers_of_a_crashed_machine_do_not_matter(folder: Path, binary: ServerBinary) -> None:
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "server.pid").write_text(f"{os.getpid()}\n")
    (folder / "server.json").write_text(
        f'{{"owner_pid": {os.getpid()}, "pid": {os.getpid()}, "url": "redis://x"}}'
    )
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "redis.sock"))
    with EmbeddedServer("shop", binary=binary.path) as server, client(server.url) as redis_client:
        assert redis_client.ping()


def test_a_folder_in_use_is_refused_and_its_user_named(folder: Path) -> None:
    with EmbeddedServer("shop") as first:
        with pytest.raises(EmbeddedServerError) as caught:
            EmbeddedServer("shop").start()
        for hint in (str(folder), f"process {os.getpid()}", f"NOOBLE_REDIS_URL={first.url}", "project name"):
            assert hint in str(caught.value)
        with client(first.url) as redis_client:
            assert redis_client.ping()


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(EmbeddedServerError, match="XDG_STATE_HOME"):
        EmbeddedServer("shop").start()


def test_an_option_the_server_refuses_is_shown_in_its_own_words(binary: ServerBinary) -> None:
    with pytest.raises(EmbeddedServerError, match=r"ended before it was ready.*\n(.*\n)*.*no-such-option"):
        EmbeddedServer(persist=False, binary=binary.path, options={"no-such-option": "1"}).start()


def fake_server(path: Path, then: str) -> Path:
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=7.9.9" && exit 0\n{then}\n')
    path.chmod(0o755)
    return path


def test_a_program_that_does_not_start_is_quoted(tmp_path: Path, folder: Path) -> None:
    program = fake_server(tmp_path / "redis-server", "echo 'the disk is on fire' >&2; exit 3")
    with pytest.raises(EmbeddedServerError, match="the disk is on fire"):
        EmbeddedServer("shop", binary=program).start()
    assert files(folder) == {"lock", "server.log"}


def test_a_program_that_never_answers_is_given_up(tmp_path: Path, folder: Path) -> None:
    program = fake_server(tmp_path / "redis-server", "echo $$ > pid; exec tail -f /dev/null")
    with pytest.raises(EmbeddedServerError, match="was not ready after"):
        EmbeddedServer("shop", binary=program, start_timeout=0.5).start()
    assert ended(int((folder / "pid").read_text()))
