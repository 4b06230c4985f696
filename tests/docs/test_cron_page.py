"""docs/cron.md: its examples run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, CommonAppSettings
from nooble_tasks.cron import declared_schedules
from tests.nooble_tasks.looking import Nooble

PAGE = (Path(__file__).parents[2] / "docs" / "cron.md").read_text(encoding="utf-8")


def _run(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[number], names)
    return names


def test_the_declaration() -> None:
    service = _run(0)["ReportService"](app_settings=CommonAppSettings(service_name="report_service"))
    found = {each.schedule_id: each.when for each in declared_schedules(service)}
    assert found == {
        "report.daily.acme": "0 6 * * 1-5",
        "report.daily.globex": "0 6 * * 1-5",
        "report.pulse.acme": "every 90 s",
    }


async def test_the_commands_of_a_client(redis: Redis) -> None:
    client = BaseRedisClient("report", redis, CommonAppSettings(service_name="report"))
    done = await _run(1)["manage"](client)
    assert 9 <= done.accepted == done.total <= 11
    await client.close()


async def test_the_commands(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOOBLE_REDIS_URL", redis_url)
    nooble = Nooble(monkeypatch)
    lines = re.findall(r"^    nooble (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        assert (await nooble(*shlex.split(line))).code == 0
    named = re.findall(r"`([\w-]+)`", PAGE.split("`nooble cron list`,")[1].split("\n\n")[0])
    shown = (await nooble("cron", "--help")).out
    assert all(verb in shown for verb in named if verb not in ("nooble", "operations"))
