"""`nooble enqueue` and `nooble call`: send one action from a shell."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import complain, print_json, warn
from .exits import EXPLAINED, FAILED, OK
from .loops import run_async
from .operating import AsJson

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.handle import ActionHandle

ActionType = Annotated[str, typer.Argument(help="Such as query.search; its first part is the domain.")]
Tenant = Annotated[str, typer.Option("--tenant", "-t", help="On whose behalf.")]
Tier = Annotated[str | None, typer.Option(help="The tenant's tier; without it the default tier.")]
Data = Annotated[
    str | None, typer.Option("--data", "-d", help="JSON; @FILE reads a file, - reads standard input.")
]
Delay = Annotated[float | None, typer.Option(min=0, help="Start in so many seconds at the earliest.")]
RunAt = Annotated[str | None, typer.Option(help="Start then at the earliest: 2030-01-31T09:00:00+01:00.")]
Deadline = Annotated[float | None, typer.Option(min=0, help="Do not start after so many seconds.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: the same key twice is one action.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=EXPLAINED)(enqueue)
    app.command(epilog=EXPLAINED)(call)


def enqueue(
    action_type: ActionType,
    tenant: Tenant,
    tier: Tier = None,
    data: Data = None,
    delay: Delay = None,
    run_at: RunAt = None,
    deadline: Deadline = None,
    key: Key = None,
    as_json: AsJson = False,
) -> int:
    """Put an action in line and print its id.

    nooble enqueue ingestion.document.process -t acme -d @document.json

    nooble enqueue report.monthly.build -t acme --tier enterprise --delay 3600 --key 2030-01
    """
    options = _options(tier, delay, run_at, deadline, key)
    handle = run_async(_enqueue(action_type, read_data(data), tenant, options))
    if as_json:
        told = {"action_id": handle.action_id, "accepted": handle.accepted, "tier": handle.tier}
        print_json({**told, "domain": handle.action.domain})
    else:
        print(handle.action_id)
    return OK


def call(
    action_type: ActionType,
    tenant: Tenant,
    tier: Tier = None,
    data: Data = None,
    delay: Delay = None,
    run_at: RunAt = None,
    deadline: Deadline = None,
    key: Key = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer.")] = 30.0,
    as_json: AsJson = False,
) -> int:
    """Send an action, wait for its answer and print the data of it as JSON.

    An error in the answer goes to stderr, exit code 1. --json prints the whole answer, error included.

    nooble call query.search -t acme -d '{"question": "What is a coroutine?"}'
    """
    options = _options(tier, delay, run_at, deadline, key)
    if deadline is None and delay is None and run_at is None:
        options["deadline"] = timeout  # nobody is interested after that
    response = run_async(_call(action_type, read_data(data), tenant, options, timeout))
    if as_json:
        print_json(response.model_dump(mode="json", exclude_none=True))
    elif response.error is None:
        print_json(response.data)
    if response.error is not None:
        complain(f"{action_type}: {response.error.message} ({response.error.code})")
        return FAILED
    return OK


async def _enqueue(action_type: str, data: Any, tenant: str, options: dict[str, Any]) -> ActionHandle:
    from .connection import connected

    async with connected() as client:
        return await _sent(client, action_type, data, tenant, options)


async def _call(action_type: str, data: Any, tenant: str, options: dict[str, Any], timeout: float) -> Any:
    from .connection import connected

    async with connected() as client:
        handle = await _sent(client, action_type, data, tenant, options)
        try:
            return await handle.response(timeout)
        except asyncio.CancelledError:
            name = handle.action_id
            warn(f"action {name} goes on; see `nooble why {name}`, or end it: `nooble cancel {name}`")
            raise


async def _sent(
    client: BaseRedisClient, action_type: str, data: Any, tenant: str, options: dict[str, Any]
) -> ActionHandle:
    return await client.enqueue_action(action_type, data, tenant_id=tenant, **options)


def _options(
    tier: str | None, delay: float | None, run_at: str | None, deadline: float | None, key: str | None
) -> dict[str, Any]:
    return {
        "tier": tier,
        "delay": delay,
        "run_at": _moment(run_at),
        "deadline": deadline,
        "idempotency_key": key,
    }


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no moment; write 2030-01-31T09:00:00+01:00") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no time zone; write it like 2030-01-31T09:00:00+01:00, or ending in Z for UTC"
        )
    return moment


def read_data(source: str | None) -> Any:
    """The JSON value of `--data`: the text itself, of a file (@FILE) or of standard input (-)."""
    import json

    if source is None:
        return None
    try:
        if source == "-":
            text = sys.stdin.read()
        elif source.startswith("@"):
            text = Path(source[1:]).read_text(encoding="utf-8")
        else:
            text = source
        return json.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"{source[1:]} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f'--data is not JSON ({error}); write \'{{"name": "value"}}\'') from None
