"""What docs/deployment.md shows is run: the server's configuration, its user, and every name on the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis_asyncio
from redis.exceptions import NoPermissionError

from nooble_tasks import BaseService, handles
from nooble_tasks.embedded import EmbeddedServer
from nooble_tasks.server_check import check_server
from nooble_tasks.settings import CommonAppSettings
from nooble_tasks.testing import working_on
from tests.nooble_tasks.looking import Nooble

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()


def block(kind: str) -> str:
    """The page's one code block of that kind."""
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


class Embedding(BaseService):
    @handles("embedding.double")
    async def double(self, data: dict[str, int]) -> int:
        """Twice the number."""
        return 2 * data["n"]


def test_every_setting_exists() -> None:
    named = set(re.findall(r"NOOBLE_([A-Z_]+)", PAGE))
    assert len(named) > 5
    assert {name.lower() for name in named} <= CommonAppSettings.model_fields.keys()


async def test_the_commands_have_these_options(nooble: Nooble) -> None:
    shown = [*re.findall(r"nooble worker ([^\n`]*)", PAGE), " ".join(re.findall(r"--[a-z-]+", block("yaml")))]
    options = {option for line in shown for option in re.findall(r"--[a-z-]+", line)}
    assert {"--processes", "--health-port", "--health-host"} <= options
    said = (await nooble("worker", "--help", columns=200)).out
    for option in options:
        assert option in said, f"nooble worker has no {option}"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`nooble ([a-z ]+)", PAGE))))
async def test_the_command_exists(nooble: Nooble, command: str) -> None:
    assert (await nooble(*command.split(), "--help")).code == 0


async def test_a_server_so_configured_is_fit(redis_server: EmbeddedServer) -> None:
    options = dict(line.split(" ", 1) for line in block("conf").splitlines())
    with EmbeddedServer(persist=False, binary=redis_server.binary.path, options=options) as server:
        async with redis_asyncio.Redis.from_url(server.url, protocol=2) as client:
            told: Any = await client.config_get("*")
            assert await check_server(client) == []
            for name in options.keys() - {"maxmemory"}:
                assert told[name] == options[name]


async def test_its_user_may_do_what_workers_and_clients_do(redis_server: EmbeddedServer) -> None:
    """Work, ask, cancel, look at what is there and at the server; nothing of other keys."""
    _, name, *rules = block("acl").split()
    with EmbeddedServer(persist=False, binary=redis_server.binary.path, port=0) as server:
        async with redis_asyncio.Redis.from_url(server.url, protocol=2) as owner:
            await owner.execute_command("ACL", "SETUSER", name, *rules)
            url = f"redis://{name}:change-me@{server.url.rpartition('@')[2]}"
            async with working_on(url, Embedding) as client:
                handle = await client.enqueue_action("embedding.double", {"n": 4}, tenant_id="acme")
                assert await handle.result(10) == 8
                later = await client.enqueue_action("embedding.double", {"n": 1}, tenant_id="acme", delay=60)
                assert await later.cancel()
                assert await client.inspector.domains() == ["embedding"]
                assert await client.inspector.tiers("embedding")
            async with redis_asyncio.Redis.from_url(url, protocol=2) as own:
                assert {found.code for found in await check_server(own)} <= {"persistence", "eviction"}
                with pytest.raises(NoPermissionError):
                    await own.get("somebody:else")
                with pytest.raises(NoPermissionError):
                    await own.flushall()
            denied = [entry["reason"] for entry in await owner.acl_log()]
            assert sorted(denied) == ["command", "key"], "what the library itself was refused"
