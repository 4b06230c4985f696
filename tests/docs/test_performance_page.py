"""docs/performance.md: its example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.nooble_tasks.support import action, make_client

PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")


async def test_sending_many(redis: Redis) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(example, names)
    client = make_client(redis)
    await names["send_all"](client, (action("echo", n) for n in range(730)))
    counted: Any = redis.hget("nooble:probe:counters", "enterprise:enqueued")
    assert await counted == b"730"
    await client.close()
