"""docs/dead-letters.md: its commands are run and say what it shows, its code runs.

`NOOBLE_TEST_WRITE_DOCS=1 pytest tests/docs/test_dead_letters_page.py` writes the outputs into the page.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, BaseService, DomainAction, LetterReport, Outcome
from nooble_tasks._engine import Finish
from tests.docs.test_operations import plain
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import make_client

PAGE = Path(__file__).parents[2] / "docs" / "dead-letters.md"
WRITE = bool(os.environ.get("NOOBLE_TEST_WRITE_DOCS"))
DOMAIN, WORKER = "embedding", "embedding.7f3a"
_BLOCK = re.compile(r"```console\n\$ nooble ([^\n]+)\n(.*?)```", re.DOTALL)
REFUSED = "ConnectionError: index.internal:9200 refused the connection: connection refused"


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[BaseRedisClient]:
    """Three dead letters, one of them after three attempts."""
    client = make_client(redis, "api_service")
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, WORKER, register=True)
    for action_id, tenant in (("doc-7", "acme"), ("doc-8", "acme"), ("doc-9", "zoe")):
        action = DomainAction(
            action_id=action_id,
            action_type=f"{DOMAIN}.document.index",
            tenant_id=tenant,
            tenant_tier="enterprise",
            data={"path": f"/inbox/{action_id}.pdf"},
        )
        await client.enqueue_action(action)
    for attempt in (1, 2, 3):
        for claimed in (await engine.claim(DOMAIN, WORKER, 10)).actions:
            retry = claimed.action_id == "doc-7" and attempt < 3
            outcome = Outcome.RETRY if retry else Outcome.DEAD
            reason = "ValueError: page 3 is empty" if claimed.action_id == "doc-9" else REFUSED
            await engine.finish(
                DOMAIN, WORKER, [Finish(claimed, outcome, reason=reason, run_time_us=1_200_000)]
            )
    yield client
    await client.close()


def same(text: str) -> str:
    """As `plain`, without what an action's envelope and a letter's id add from run to run."""
    text = re.sub(r'"(trace_id|created_at)": "[^"]+"', r'"\1": "…"', text)
    return plain(re.sub(r"\d{13}-\d+", "LETTER", text))


async def test_the_page_shows_what_the_commands_say(client: BaseRedisClient, nooble: Nooble) -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(page)
    assert len(blocks) >= 3
    different = []
    for command, shown in blocks:
        done = await nooble(*shlex.split(command), columns=100)
        said = "\n".join(line.rstrip() for line in done.out.splitlines()) + "\n"
        assert done.code == 0, done.err
        if WRITE:
            page = page.replace(f"$ nooble {command}\n{shown}```", f"$ nooble {command}\n{said}```")
        elif same(said) != same(shown):
            different.append(f"nooble {command}:\n{said}")
    if WRITE:
        PAGE.write_text(page, encoding="utf-8")
    assert not different, f"NOOBLE_TEST_WRITE_DOCS=1 writes the page anew; not as shown: {different}"


async def test_the_code_runs(client: BaseRedisClient) -> None:
    mend, service = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "a_page"}
    exec(mend, names)
    report: LetterReport = await names["mend"](client)
    assert (report.matched, report.done) == (2, 2)
    exec(service, names)
    index: type[BaseService] = names["IndexService"]
    policy = index.options_of("index.page.add").retry
    assert policy is not None
    assert policy.allows(ConnectionError(), 9)
    assert not policy.allows(PermissionError(), 1)
