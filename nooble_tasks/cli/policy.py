"""`nooble policy`: look at the policy in force, see what another would change, publish it, go back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, out, print_json
from .exits import EXPLAINED, FAILED, OK, USAGE, Ended
from .login import login
from .loops import run_async
from .operating import AsJson, By

if TYPE_CHECKING:
    from nooble_tasks._engine import DryRun, PolicyStore, PolicyVersion, Published

policy = typer.Typer(
    no_args_is_help=True,
    help="The policy of the tiers: versioned on the server, live in every worker at its next claim.",
    epilog=EXPLAINED,
)

File = Annotated[
    str, typer.Argument(metavar="FILE", help="Such as config/tiers.toml; - reads standard input.")
]
Version = Annotated[int, typer.Argument(metavar="VERSION", help="A number of `nooble policy history`.")]
Expect = Annotated[
    int | None, typer.Option(min=0, help="Only in place of this version (0: of none); asks nothing then.")
]
Force = Annotated[bool, typer.Option("--force", help="In place of whatever is in force; asks nothing.")]
Moves = Annotated[
    list[str] | None,
    typer.Option("--move", metavar="OLD=NEW", help="Who is in OLD, a tier that the file lacks, goes to NEW."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(policy, name="policy")


@policy.command(epilog=EXPLAINED)
def check(file: File, as_json: AsJson = False) -> int:
    """Say whether a file could be published. Needs no server.

    nooble policy check config/tiers.toml
    """
    from nooble_tasks._engine import Policy, PolicyError

    try:
        found = Policy.parse(_text(file), source=file)
    except PolicyError as error:
        if not as_json:
            raise
        print_json({"file": file, "valid": False, "errors": str(error).split("\n")})
        return FAILED
    if as_json:
        print_json({"file": file, "valid": True, "tiers": found.names()})
    else:
        print(f"{file} can be published: {', '.join(found.names())}")
    return OK


@policy.command(epilog=EXPLAINED)
def show(
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="Default: the one in force.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Print the text of the policy in force, or of an older version.

    nooble policy show > tiers.toml

    nooble policy show 7
    """
    found = run_async(_show(version))
    if as_json:
        print_json(found._asdict())
        return OK
    from .policy_view import headline

    err().print(headline(found), style="dim")
    sys.stdout.write(found.text if found.text.endswith("\n") else f"{found.text}\n")
    return OK


@policy.command(epilog=EXPLAINED)
def history(
    limit: Annotated[int, typer.Option(min=1, max=100, help="So many at most.")] = 20, as_json: AsJson = False
) -> int:
    """List the published versions, newest first; the last 100 are kept.

    nooble policy history --limit 5
    """
    found = run_async(_history(limit))
    if as_json:
        print_json({"versions": [{k: v for k, v in each._asdict().items() if k != "text"} for each in found]})
    elif found:
        from .policy_view import show_history

        show_history(found)
    else:
        err().print("nothing was published yet", style="dim")
    return OK


@policy.command(epilog=EXPLAINED)
def diff(
    file: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="What would take the place.")],
    move: Moves = None,
    as_json: AsJson = False,
) -> int:
    """Dry run: what publishing a file, or going back to a version, would change, and for whom.

    Exit code 1 when it would be refused. Nothing is written.

    nooble policy diff config/tiers.toml

    nooble policy diff 7 --json
    """
    found = run_async(_diff(file, _moves(move)))
    return _told(found, as_json)


@policy.command(epilog=EXPLAINED)
def publish(
    file: File,
    why: Annotated[str, typer.Option(help="Why; kept with the version.")],
    by: By = None,
    move: Moves = None,
    expect: Expect = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Make a file the policy that every domain runs under, from the next claim on. No restart.

    On a terminal it shows what would change and asks. Elsewhere say what you have seen: --expect 7 publishes
    only in place of version 7, --force in place of any.

    nooble policy publish config/tiers.toml --why "double the limit of free"

    nooble policy publish config/tiers.toml --why "deploy 1.9" --expect 7 --json

    nooble policy publish config/tiers.toml --why "advance is sold no more" --move advance=professional
    """
    text, moves = _text(file), _moves(move)
    expected = _expected(text, file, expect, force, asks=file != "-", moves=moves)
    done = run_async(_publish(text, file, why, by, expected, force, moves))
    return _published(done, as_json)


@policy.command(epilog=EXPLAINED)
def rollback(
    version: Version,
    why: Annotated[str, typer.Option(help="Why; default: back to version N.")] = "",
    by: By = None,
    expect: Expect = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Publish the text of an older version anew. It becomes the newest version; nothing is lost.

    nooble policy rollback 7 --why "free tenants wait too long"
    """
    old = run_async(_show(version))
    expected = _expected(old.text, f"version {version}", expect, force, asks=True)
    done = run_async(_rollback(version, why, by, expected, force))
    return _published(done, as_json)


def _text(file: str) -> str:
    """The text of a file or of standard input; raises PolicyError."""
    from nooble_tasks._engine import PolicyError

    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{file}: not UTF-8 text") from None


def _moves(given: list[str] | None) -> dict[str, str]:
    moves = dict(each.partition("=")[::2] for each in given or [])
    for old, new in moves.items():
        if not (old and new):
            raise typer.BadParameter(f"{old or new!r} is not OLD=NEW, such as advance=professional")
    return moves


def _expected(
    text: str,
    source: str,
    expect: int | None,
    force: bool,
    *,
    asks: bool,
    moves: dict[str, str] | None = None,
) -> int | None:
    """The version that is meant to be replaced, known from --expect or from somebody who saw the differences.

    Raises typer.Exit when there is nothing to do, or nobody to ask.
    """
    if expect is not None or force:
        return expect
    found = run_async(_dry_run(text, source, moves or {}))
    if (found.diff.empty and found.version) or not found.version:
        return found.version
    if not (asks and somebody_looks()):
        raise Ended(
            f"version {found.version} is in force; say --expect {found.version} to replace just that one, or "
            "--force to replace whatever there is\n`nooble policy diff` shows what would change",
            USAGE,
        )
    if _told(found, as_json=False) != OK:
        raise typer.Exit(FAILED)
    typer.confirm(f"Replace version {found.version}?", abort=True, err=True)
    return found.version


def somebody_looks() -> bool:
    """Whether what would change can be shown to somebody who can be asked."""
    return sys.stdin.isatty() and err().is_terminal and out().is_terminal


def _told(found: DryRun, as_json: bool) -> int:
    from .policy_view import dry_run_dict, show_dry_run

    if as_json:
        print_json(dry_run_dict(found))
    else:
        show_dry_run(found)
    return FAILED if found.occupied else OK


def _published(done: Published, as_json: bool) -> int:
    if as_json:
        told = {k: v for k, v in done.version._asdict().items() if k != "text"}
        print_json({**told, "new": done.new, "domains": done.domains})
        return OK
    where = ", ".join(done.domains) or "no domain yet: no worker has joined"
    state = "is in force" if done.new else "has this text already and stays in force"
    print(f"version {done.version.version} {state} in {where}")
    return OK


async def _show(version: int | None) -> PolicyVersion:
    from nooble_tasks._engine import UnknownVersionError

    from .connection import connected

    async with connected() as client:
        store = client.bus.policies
        found = await (store.get(version) if version is not None else store.current())
        if found is None:
            raise UnknownVersionError(1, [])
        return found


async def _history(most: int) -> list[PolicyVersion]:
    from .connection import connected

    async with connected() as client:
        return await client.bus.policies.history(most)


async def _diff(file: str, moves: dict[str, str]) -> DryRun:
    if file.isdecimal():
        return await _dry_run((await _show(int(file))).text, f"version {file}", moves)
    return await _dry_run(_text(file), file, moves)


async def _dry_run(text: str, source: str, moves: dict[str, str]) -> DryRun:
    from .connection import connected

    async with connected() as client:
        return await client.bus.policies.dry_run(text, source=source, moves=moves)


async def _publish(
    text: str,
    source: str,
    why: str,
    by: str | None,
    expected: int | None,
    force: bool,
    moves: dict[str, str],
) -> Published:
    from .connection import connected

    async with connected() as client:
        store: PolicyStore = client.bus.policies
        return await store.publish(
            text, by=by or login(), why=why, expected=expected, force=force, source=source, moves=moves
        )


async def _rollback(version: int, why: str, by: str | None, expected: int | None, force: bool) -> Published:
    from .connection import connected

    async with connected() as client:
        store: PolicyStore = client.bus.policies
        return await store.rollback(version, by=by or login(), why=why, expected=expected, force=force)
