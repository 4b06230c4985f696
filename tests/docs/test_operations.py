"""docs/operations.md: every command of the page is run, and says what the page shows.

`NOOBLE_TEST_WRITE_DOCS=1 pytest tests/docs/test_operations.py` writes the outputs into the page.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nooble_tasks import DomainAction, Outcome, rate_limit_headers
from nooble_tasks._engine import Claimed, Finish
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import make_client, until

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
WRITE = bool(os.environ.get("NOOBLE_TEST_WRITE_DOCS"))
DOMAIN = "embedding"
_BLOCK = re.compile(r"```console\n\$ nooble ([^\n]+)\n(.*?)```", re.DOTALL)


def plain(text: str) -> str:
    """Without what differs from run to run: moments, durations, and how lines and columns are filled up."""
    text = re.sub(r"\d{4}-\d\d-\d\d\s+\d\d:\d\d:\d\dZ", "MOMENT", text)
    text = re.sub(r"\b[\d.]+ (ms|s|min|h|days)\b", "SPAN", text)
    return " ".join(text.split()).replace("─", "").replace("( ", "(")


class World:
    """A domain in the middle of its work: what the page shows."""

    def __init__(self, redis: Redis) -> None:
        self.client = make_client(redis, "api_service")
        self.engine = self.client.bus.engine
        self.engine.lease_ms = 600_000  # however slow the commands are

    async def send(self, action_id: str, tenant: str, tier: str, verb: str = "make", **more: float) -> None:
        action = DomainAction(
            action_id=action_id, action_type=f"{DOMAIN}.{verb}", tenant_id=tenant, tenant_tier=tier
        )
        await self.client.enqueue_action(action, **more)  # type: ignore[arg-type]

    async def finish(self, actions: list[Claimed], outcome: Outcome, **more: object) -> None:
        done = [Finish(action, outcome, run_time_us=1_200_000, **more) for action in actions]  # type: ignore[arg-type]
        await self.engine.finish(DOMAIN, "embedding.7f3a", done)

    async def prepare(self) -> None:
        await self.engine.publish_policy(DOMAIN)
        await self.engine.extend(DOMAIN, "embedding.7f3a", register=True)
        for number in range(15):
            await self.send(f"doc-{number}", "acme", "free", "document.index")
        await self.send("report-1", "acme", "free", "report.build", delay=5_400)
        first = {a.action_id: a for a in (await self.engine.claim(DOMAIN, "embedding.7f3a", 10)).actions}
        await self.finish([first["doc-1"]], Outcome.COMPLETED)
        later = self.engine.clock.now_ms() + 3_600_000
        await self.finish([first["doc-2"]], Outcome.RETRY, due_ms=later, reason="TimeoutError: upstream")
        await self.finish([first["doc-3"]], Outcome.DEAD, reason="ValueError: page 3 is empty")
        for number in range(4):
            await self.send(f"sync-{number}", "zoe", "professional", "folder.sync")
        await self.engine.claim(DOMAIN, "embedding.7f3a", 1)
        for tenant in ("initech", "umbrella"):
            for number in range(6):
                await self.send(f"{tenant}-{number}", tenant, "enterprise", "document.index")
        action = DomainAction(
            action_id="ask-1", action_type="query.ask", tenant_id="acme", tenant_tier="free"
        )
        await self.client.enqueue_action(action)


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis)
    await world.prepare()
    return world


async def test_the_page_shows_what_the_commands_say(world: World, nooble: Nooble) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(page)
    assert len(blocks) >= 10
    different = []
    for command, shown in blocks:
        done = await nooble(*shlex.split(command), columns=88)
        said = "\n".join(line.rstrip() for line in (done.out or done.err).splitlines()) + "\n"
        assert "Traceback" not in said
        if WRITE:
            page = page.replace(f"$ nooble {command}\n{shown}```", f"$ nooble {command}\n{said}```")
        elif plain(said) != plain(shown):
            different.append(f"nooble {command}:\n{said}")
    if WRITE:
        PAGE.write_text(page, encoding="utf-8")
    assert not different, "NOOBLE_TEST_WRITE_DOCS=1 writes the page anew; it differs in " + "\n".join(
        different
    )
    await world.client.close()


async def test_the_gateways_example(world: World) -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    headers = await until(lambda: names["headers"](world.client, "acme"), "header fields")  # type: ignore[operator]
    assert headers == rate_limit_headers(await world.client.inspector.limits("acme", DOMAIN))
    assert headers["RateLimit"].startswith('"10/minute";r=0;t=')
    await world.client.close()
