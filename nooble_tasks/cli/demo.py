"""`nooble demo`: the whole system at work on real input, with a report that adds up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json
from .exits import EXPLAINED, FAILED, OK
from .loops import run_async

if TYPE_CHECKING:
    from .demo_report import Report

Folder = Annotated[
    Path | None, typer.Option("--path", metavar="DIR", help="Use the text files of this folder.")
]
Seconds = Annotated[
    float | None,
    typer.Option(min=3, max=3_600, help="How long the tenants work; 45 by default, 15 with --path."),
]
Keep = Annotated[bool, typer.Option("--keep", help="Leave the system running after the report.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(demo)


def demo(path: Folder = None, seconds: Seconds = None, keep: Keep = False, as_json: AsJson = False) -> int:
    """Watch 40 tenants on four tiers upload documents and ask questions, for about a minute.

    A temporary server, the worker processes of the Procfile, the documentation of Python's standard library
    as input. One free tenant floods and two others are eager: their limits hold them, nobody else notices.
    Exit code 0 only if every action is accounted for, limits were kept and nobody was starved.

    nooble demo

    nooble demo --path ~/notes --seconds 20
    """
    from .demo_run import run_demo

    length_s = seconds or (45.0 if path is None else 15.0)
    report = run_async(run_demo(path, length_s, keep=keep, quiet=as_json, finished=_print(as_json)))
    return OK if report.ok else FAILED


def _print(as_json: bool) -> Callable[[Report], None]:
    from .demo_summary import render_report

    def finished(report: Report) -> None:
        if as_json:
            print_json(report.to_dict())
        else:
            out().print(render_report(report, out()))

    return finished
