"""docs/tiers.md: its examples for operators run, and print what the page says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from redis.asyncio import Redis

import nooble_tasks
from nooble_tasks import Backpressure
from tests.nooble_tasks.support import make_client

PAGE = (Path(__file__).parents[2] / "docs" / "tiers.md").read_text(encoding="utf-8")
REGISTERING, PRESSING, STEERING = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


async def test_the_commands(redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    client = make_client(redis, "api_service")
    await client.bus.policies.join(["embedding"], by="w1")
    await client.enqueue_action("embedding.generate", tenant_id="acme")
    names: dict[str, object] = {}
    for source in (REGISTERING, STEERING):
        exec(f"async def example(client):\n{textwrap.indent(source, '    ')}", names)
        await names["example"](client)  # type: ignore[operator]
    told = re.search(r"```text\n(embedding\n.*?)```", PAGE, re.DOTALL)
    assert told is not None
    assert capsys.readouterr().out == told[1]
    registration = await client.bus.registry.get("acme", "embedding")
    assert registration is not None
    assert registration.tier == "enterprise"


def test_backpressure() -> None:
    with pytest.raises(Backpressure):
        exec(PRESSING, vars(nooble_tasks).copy())


def test_operators_are_pointed_at_what_is_public() -> None:
    assert "scheduler/" not in PAGE
    for name in re.findall(r"`(Unknown\w+|TenantDraining|BacklogFull|RateLimited)", PAGE):
        assert name in nooble_tasks.__all__
