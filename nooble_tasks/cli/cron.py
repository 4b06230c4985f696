"""`nooble cron`: schedules that enqueue actions again and again."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, err, out, print_json
from .cron_view import show_one, show_table, to_dict
from .exits import EXPLAINED, FAILED, OK, Ended
from .loops import run_async
from .operating import AsJson, By, Why, author

if TYPE_CHECKING:
    from nooble_tasks import ScheduleInfo, Schedules
    from nooble_tasks.client import BaseRedisClient

    Act = Callable[[Schedules, str], Awaitable[Any]]

cron = typer.Typer(
    no_args_is_help=True,
    help="Schedules: actions that are enqueued again and again, each due time exactly once.",
    epilog=EXPLAINED,
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The schedule, such as report.daily.acme.")]
Domain = Annotated[str | None, typer.Option(help="Its domain; default: the one that has it.")]
Expression = Annotated[str | None, typer.Option("--cron", help="Such as '0 6 * * *', or @daily.")]
Every = Annotated[float | None, typer.Option(help="Instead of --cron: seconds from one to the next.")]
Zone = Annotated[str | None, typer.Option("--time-zone", help="Such as Europe/Madrid; default: UTC.")]
Data = Annotated[str | None, typer.Option(help="The actions' data, as JSON.")]
Tier = Annotated[str | None, typer.Option(help="The actions' tier; default: the tenant's.")]
Unseen = Annotated[bool, typer.Option("--unseen", help="Also where a name is nearly one that is known.")]
Misfire = Annotated[str | None, typer.Option(help="Missed due times: skip, once (default) or all.")]
Grace = Annotated[float | None, typer.Option(help="Missed is what is later than so many seconds (60).")]
Overlap = Annotated[str | None, typer.Option(help="allow (default), or skip while an earlier one lives.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(cron, name="cron")


@cron.command("list", epilog=EXPLAINED)
def list_schedules(domain: Domain = None, as_json: AsJson = False) -> int:
    """List schedules: when they are due next, what became of the last due time.

    nooble cron list

    nooble cron list --domain report --json
    """

    async def look(schedules: Schedules, where: str) -> list[tuple[str, ScheduleInfo]]:
        return [(where, each) for each in await schedules.list(where)]

    found = [each for some in run_async(_in_domains(domain, look)) for each in some]
    if as_json:
        print_json({"schedules": [to_dict(where, each) for where, each in found]})
    elif found:
        show_table(found)
    else:
        err().print("no schedules", style="dim")
    return OK


@cron.command(epilog=EXPLAINED)
def show(schedule: Id, domain: Domain = None, as_json: AsJson = False) -> int:
    """Show one schedule, in words and with its next due times.

    nooble cron show report.daily.acme
    """
    return _tell(schedule, domain, lambda schedules, where: schedules.get(where, schedule), as_json)


@cron.command(epilog=EXPLAINED)
def create(
    schedule: Id,
    action_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as report.daily.")],
    tenant: Annotated[str, typer.Option("--tenant", "-t", help="For whom.")],
    expression: Expression = None,
    every: Every = None,
    time_zone: Zone = None,
    data: Data = None,
    tier: Tier = None,
    misfire: Misfire = None,
    grace: Grace = None,
    overlap: Overlap = None,
    why: Why = "",
    by: By = None,
    unseen: Unseen = False,
    as_json: AsJson = False,
) -> int:
    """Create a schedule.

    nooble cron create morning report.daily --tenant acme --cron "0 6 * * 1-5" --time-zone Europe/Madrid

    nooble cron create pulse report.pulse --tenant acme --every 90 --overlap skip
    """
    fields = _fields(expression, every, time_zone, data, tier, misfire, grace, overlap)

    async def act() -> tuple[str, ScheduleInfo]:
        from nooble_tasks.ids import domain_of

        from .connection import connected

        where = domain_of(action_type)
        async with connected() as client:
            if not unseen:
                await _not_mistyped(client, where, tenant, action_type)
            made = await client.schedules.create(
                schedule, action_type, tenant_id=tenant, by=author(by), why=why, **fields
            )
            return where, made

    where, made = run_async(act())
    _print(where, made, as_json)
    return OK


@cron.command(epilog=EXPLAINED)
def edit(
    schedule: Id,
    domain: Domain = None,
    expression: Expression = None,
    every: Every = None,
    time_zone: Zone = None,
    data: Data = None,
    tier: Tier = None,
    misfire: Misfire = None,
    grace: Grace = None,
    overlap: Overlap = None,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Change a schedule that was created by command; what is not named stays.

    nooble cron edit morning --cron "30 6 * * 1-5" --why "the source is late"
    """
    fields = _fields(expression, every, time_zone, data, tier, misfire, grace, overlap)

    async def act(schedules: Schedules, where: str) -> ScheduleInfo:
        return await schedules.edit(where, schedule, by=author(by), why=why, **fields)

    return _tell(schedule, domain, act, as_json)


@cron.command(epilog=EXPLAINED)
def pause(schedule: Id, domain: Domain = None, why: Why = "", by: By = None, as_json: AsJson = False) -> int:
    """Fire no more until resumed; deployments do not undo it.

    nooble cron pause report.daily.acme --why "wrong numbers"
    """

    async def act(schedules: Schedules, where: str) -> ScheduleInfo:
        return await schedules.pause(where, schedule, by=author(by), why=why)

    return _tell(schedule, domain, act, as_json)


@cron.command(epilog=EXPLAINED)
def resume(schedule: Id, domain: Domain = None, why: Why = "", by: By = None, as_json: AsJson = False) -> int:
    """Fire again from the next due time on; `nooble cron backfill` makes up what fell into the pause.

    nooble cron resume report.daily.acme
    """

    async def act(schedules: Schedules, where: str) -> ScheduleInfo:
        return await schedules.resume(where, schedule, by=author(by), why=why)

    return _tell(schedule, domain, act, as_json)


@cron.command("run-now", epilog=EXPLAINED)
def run_now(
    schedule: Id, domain: Domain = None, why: Why = "", by: By = None, as_json: AsJson = False
) -> int:
    """Enqueue its action once, at once, paused or not.

    nooble cron run-now report.daily.acme --why "asked for by finance"
    """

    async def act(schedules: Schedules, where: str) -> str | None:
        return await schedules.run_now(where, schedule, by=author(by), why=why)

    action_id = run_async(_on(schedule, domain, act))[1]
    if as_json:
        print_json({"action_id": action_id})
    elif action_id:
        print(action_id)
    else:
        complain("passed over: an earlier one still waits or runs\nits overlap policy is skip")
    return OK if action_id else FAILED


@cron.command(epilog=EXPLAINED)
def delete(schedule: Id, domain: Domain = None, why: Why = "", by: By = None, as_json: AsJson = False) -> int:
    """Delete a schedule; what it enqueued stays.

    nooble cron delete morning
    """

    async def act(schedules: Schedules, where: str) -> None:
        await schedules.delete(where, schedule, by=author(by), why=why)

    where = run_async(_on(schedule, domain, act))[0]
    if as_json:
        print_json({"deleted": schedule, "domain": where})
    else:
        err().print(f"deleted {schedule}")
    return OK


@cron.command("next", epilog=EXPLAINED)
def next_times(
    schedule: Id,
    domain: Domain = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 5,
    as_json: AsJson = False,
) -> int:
    """Print the next due times, as if it was not paused.

    nooble cron next report.daily.acme -n 10
    """

    async def act(schedules: Schedules, where: str) -> tuple[str, list[datetime]]:
        zone = (await schedules.get(where, schedule)).schedule.time_zone
        return zone, await schedules.next(where, schedule, count)

    zone, times = run_async(_on(schedule, domain, act))[1]
    if as_json:
        print_json({"schedule": schedule, "time_zone": zone, "next": [each.isoformat() for each in times]})
        return OK
    from zoneinfo import ZoneInfo

    for each in times:
        out().print(f"{each.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M:%S%z}  {each:%Y-%m-%d %H:%M:%S}Z")
    return OK


async def _not_mistyped(client: BaseRedisClient, domain: str, tenant: str, action_type: str) -> None:
    """A name that nobody has seen yet is accepted, unless it is nearly one that is known."""
    from nooble_tasks import UnknownDomain
    from nooble_tasks.lookup_errors import UnknownActionType, UnknownTenant

    for given in ({}, {"tenant_id": tenant}, {"action_type": action_type}):
        try:
            await client.inspector.check(domains=[domain], **given)
        except (UnknownDomain, UnknownTenant, UnknownActionType) as error:
            if error.details["near"]:
                raise Ended(f"{error}\nsay --unseen when it is meant", code=error.code) from None
            if isinstance(error, UnknownDomain):
                return


def _fields(
    expression: str | None,
    every: float | None,
    time_zone: str | None,
    data: str | None,
    tier: str | None,
    misfire: str | None,
    grace: float | None,
    overlap: str | None,
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "expression": expression,
        "every": every,
        "time_zone": time_zone,
        "tier": tier,
        "misfire": misfire,
        "grace": grace,
        "overlap": overlap,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if data is not None:
        try:
            given["data"] = json.loads(data)
        except ValueError as error:
            raise typer.BadParameter(f"--data is not JSON: {error}") from None
    return given


def _tell(schedule: str, domain: str | None, act: Act, as_json: bool) -> int:
    where, info = run_async(_on(schedule, domain, act))
    _print(where, info, as_json)
    return OK


def _print(where: str, info: ScheduleInfo, as_json: bool) -> None:
    if as_json:
        print_json(to_dict(where, info))
    else:
        show_one(where, info)


async def _in_domains(domain: str | None, act: Act) -> list[Any]:
    from .connection import connected

    async with connected() as client:
        named = await client.inspector.check(domains=[domain]) if domain else []
        domains = named or await client.schedules.domains()
        return [await act(client.schedules, each) for each in domains]


async def _on(schedule: str, domain: str | None, act: Act) -> tuple[str, Any]:
    """Do something in the one domain that has the schedule."""
    from .connection import connected

    async with connected() as client:
        if domain:
            await client.inspector.check(domains=[domain])
        where = domain or await client.schedules.domain_of(schedule)
        return where, await act(client.schedules, where)
