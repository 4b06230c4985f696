"""`nooble cron`: tables that fit, JSON, who and why, exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN

CREATE = (
    "cron", "create", "morning", "probe.echo", "-t", "acme", "--cron", "0 6 * * 1-5",
    "--time-zone", "Europe/Madrid", "--data", '{"n": 1}', "--by", "ana", "--why", "asked for",
)  # fmt: skip


@pytest.mark.parametrize("columns", [80, 120])
async def test_create_list_show(nooble: Nooble, columns: int) -> None:
    made = await nooble(*CREATE, columns=columns)
    assert made.code == 0
    assert "by ana: asked for" in made.out
    done = await nooble("cron", "list", columns=columns)
    assert [row.split()[:2] for row in done.table] == [["morning", "acme"]]
    assert ("Europe/Madrid" in done.out) == (columns == 120)
    assert max(map(len, done.out.splitlines())) <= columns
    shown = await nooble("cron", "show", "morning", columns=columns)
    assert "0 6 * * 1-5" in shown.text
    assert "through Friday" in shown.text
    assert "{'n': 1}" in shown.text


async def test_the_life_of_a_schedule(nooble: Nooble, client: BaseRedisClient) -> None:
    assert (await nooble(*CREATE)).code == 0
    edited = json.loads((await nooble("cron", "edit", "morning", "--every", "90", "--json")).out)
    assert (edited["expression"], edited["every_ms"], edited["domain"]) == ("", 90_000, DOMAIN)
    paused = json.loads((await nooble("cron", "pause", "morning", "--by", "ana", "--why", "x", "--json")).out)
    assert (paused["next_due"], paused["paused"]["why"]) == (None, "x")
    assert "paused" in (await nooble("cron", "list")).out
    assert json.loads((await nooble("cron", "resume", "morning", "--json")).out)["paused"] is None
    ran = json.loads((await nooble("cron", "run-now", "morning", "--json")).out)
    assert await client.redis_client.hexists(client.bus.keys.of("actions", DOMAIN), ran["action_id"])
    times = json.loads((await nooble("cron", "next", "morning", "-n", "3", "--json")).out)["next"]
    moments = [datetime.fromisoformat(each) for each in times]
    assert moments[2] - moments[1] == timedelta(seconds=90)
    assert (await nooble("cron", "delete", "morning", "--by", "ana")).code == 0
    assert json.loads((await nooble("cron", "list", "--json")).out) == {"schedules": []}


async def test_backfill(nooble: Nooble) -> None:
    await nooble("cron", "create", "hourly", "probe.echo", "-t", "acme", "--cron", "@hourly")
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = ("--from", (last - timedelta(hours=12)).isoformat(), "--until", last.isoformat())
    done = await nooble("cron", "backfill", "hourly", *span, "--rate", "1000", "--json")
    assert json.loads(done.out) == {"total": 12, "done": 12, "accepted": 12}
    again = await nooble("cron", "backfill", "hourly", *span)
    assert again.out.strip() == "12 of 12 due times; 0 actions enqueued now"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "mornin"), 1, "did you mean 'morning'"),
        ((*CREATE[1:],), 1, "already"),
        (("edit", "morning", "--cron", "61 * * * *"), 1, "minute '61' (field 1, position 0)"),
        (("edit", "morning", "--time-zone", "Europe/Madird"), 1, "did you mean 'Europe/Madrid'"),
        (("edit", "morning"), 1, "nothing to change"),
        (("edit", "morning", "--data", "{"), 2, "not JSON"),
        (("backfill", "morning", "--from", "2030-01-01", "--until", "2030-01-02"), 2, "no time zone"),
    ],
)
async def test_what_goes_wrong(nooble: Nooble, arguments: tuple[str, ...], code: int, told: str) -> None:
    await nooble(*CREATE)
    done = await nooble("cron", *arguments)
    assert (done.code, done.out) == (code, "")
    assert told in " ".join(done.err.replace("│", " ").split())
