"""`nooble workers`: who works, on what, since when; quiet, drain and stop them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK, USAGE, Ended
from .loops import run_async
from .operating import AsJson, By, Why, Yes, ask, author

if TYPE_CHECKING:
    from nooble_tasks._engine import RunningAction, WorkerStanding

workers = typer.Typer(
    invoke_without_command=True,
    help="Show the workers, or tell them to be quiet, to drain, to stop.\n\n"
    "quiet: claim no more, but stay. drain: quiet, and end when everything that runs has ended. "
    "stop: end within the grace (drain_timeout_s); what did not end by then is given back, unspent.",
    epilog=EXPLAINED,
)

Worker = Annotated[
    list[str] | None, typer.Option("--worker", "-w", help="Its id, as the list shows it; may be repeated.")
]
Domain = Annotated[list[str] | None, typer.Option("--domain", "-d", help="All of a domain; may be repeated.")]
All = Annotated[bool, typer.Option("--all", help="All workers of this server.")]
Shown = Annotated[int, typer.Option("--running", min=0, max=500, help="So many of each one's actions.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(workers, name="workers")


@workers.callback()
def default(context: typer.Context) -> None:
    """Without a command: the list."""
    if context.invoked_subcommand is None:
        show(None, 3, False)


@workers.command("list", epilog=EXPLAINED)
def show(domain: Domain = None, running: Shown = 3, as_json: AsJson = False) -> int:
    """List the workers: what each runs, since when, its version, host and process.

    lease: seconds until the worker counts as dead, unless its heartbeat comes.

    nooble workers

    nooble workers list --domain embedding --running 20 --json
    """
    found = run_async(_list(domain or [], running))
    if as_json:
        print_json({"workers": [_to_dict(each) for each in found]})
    else:
        _show(found)
    return OK


@workers.command("quiet", epilog=EXPLAINED)
def quiet(
    worker: Worker = None,
    domain: Domain = None,
    every: All = False,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Claim no more, but stay: what runs goes on.

    nooble workers quiet --worker embedding_service.web-1-4711.0f3a9c1e

    nooble workers quiet --domain embedding --why "deploy at noon"
    """
    return _tell("quiet", worker, domain, every, why, by, as_json)


@workers.command("resume", epilog=EXPLAINED)
def resume(
    worker: Worker = None,
    domain: Domain = None,
    every: All = False,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Claim again after quiet.

    nooble workers resume --all
    """
    return _tell("resume", worker, domain, every, why, by, as_json)


@workers.command("drain", epilog=EXPLAINED)
def drain(
    worker: Worker = None,
    domain: Domain = None,
    every: All = False,
    why: Why = "",
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Claim no more, and end when everything that runs has ended. With --all it asks first.

    nooble workers drain --domain embedding
    """
    if every:
        ask("Drain all workers of this server?", yes=yes)
    return _tell("drain", worker, domain, every, why, by, as_json)


@workers.command("stop", epilog=EXPLAINED)
def stop(
    worker: Worker = None,
    domain: Domain = None,
    every: All = False,
    why: Why = "",
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """End within the grace; what did not end by then starts elsewhere, unspent. With --all it asks first.

    nooble workers stop --worker embedding_service.web-1-4711.0f3a9c1e

    nooble workers stop --all --yes
    """
    if every:
        ask("Stop all workers of this server?", yes=yes)
    return _tell("stop", worker, domain, every, why, by, as_json)


def _tell(
    message: str,
    worker: list[str] | None,
    domain: list[str] | None,
    every: bool,
    why: str,
    by: str | None,
    as_json: bool,
) -> int:
    if sum(map(bool, (worker, domain, every))) != 1:
        raise Ended(f"whom? say one of --worker, --domain and --all\nnooble workers {message} --all", USAGE)
    told = run_async(_instruct(message, worker or [], domain or [], author(by), why))
    if as_json:
        print_json({"told": told, "message": message})
    elif told:
        out().print(f"told to {message}:" if message != "quiet" else "told to be quiet:")
        for each in told:
            out().print(f"  {each}")
    else:
        out().print("No worker is registered there.")
    return OK


async def _instruct(message: str, workers: list[str], domains: list[str], by: str, why: str) -> list[str]:
    from .connection import connected

    async with connected() as client:
        command = getattr(client.workers, message)
        told: list[str] = []
        if not workers:
            return [*await command(domains=domains, by=by, why=why)]
        for worker in workers:
            told += await command(worker, by=by, why=why)
        return told


async def _list(domains: list[str], shown: int) -> list[WorkerStanding]:
    from .connection import connected

    async with connected() as client:
        return await client.workers.list(domains, shown=shown)


def _show(found: Sequence[WorkerStanding]) -> None:
    from .tables import marked, table, wide

    if not found:
        out().print("No worker is registered. Next step: start one, `nooble up` or `nooble worker <target>`.")
        return
    now_ms = time.time() * 1000
    more = ["version", "host", "pid"] if wide() else []
    made = table(["domain", "worker", "state"], ["runs", "slots", "up", "lease", *more])
    for each in found:
        lease_s = (each.lease_until_ms - now_ms) / 1000
        state = str(each.info.get("state", "?")) if lease_s >= 0 else "lease ended"
        made.add_row(
            each.domain,
            each.worker_id,
            marked(state, "yellow", state != "running"),
            str(each.owned),
            str(each.info.get("slots", "?")),
            _since(each.info.get("since_ms"), now_ms),
            marked(f"{lease_s:.0f} s", "red", lease_s < 0),
            *(str(each.info.get(name, "?")) for name in more),
        )
    out().print(made)
    for each in found:
        if each.running:
            hidden = each.owned - len(each.running)
            out().print(f"\n{each.worker_id} runs", style="bold")
            for action in each.running:
                out().print(f"  {_running(action, now_ms)}")
            if hidden > 0:
                out().print(f"  and {hidden} more; --running {each.owned} shows them", style="dim")


def _running(action: RunningAction, now_ms: float) -> str:
    what = action.action_type or action.action_id
    return f"{what} of {action.tenant_id}, {_since(action.since_ms, now_ms)}"


def _since(at_ms: int | None, now_ms: float) -> str:
    if not at_ms:
        return "?"
    seconds = max(now_ms - at_ms, 0) / 1000
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.0f} h"


def _to_dict(each: WorkerStanding) -> dict[str, object]:
    return {
        "worker_id": each.worker_id,
        "domain": each.domain,
        **each.info,
        "lease_until_ms": each.lease_until_ms,
        "owned": each.owned,
        "running": [action._asdict() for action in each.running],
    }
