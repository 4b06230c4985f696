"""`nooble simulate`: what would this policy do to my tenants?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import simulate_record
from .console import out, print_json
from .exits import EXPLAINED, FAILED, OK, USAGE, Ended
from .loops import run_async

if TYPE_CHECKING:
    from .simulate_work import Answer

simulate = typer.Typer(invoke_without_command=True, epilog=EXPLAINED)

Policies = Annotated[
    list[str] | None, typer.Option("--policy", metavar="FILE", help="A policy; several are compared.")
]
Workload = Annotated[Path | None, typer.Option(metavar="FILE", help="A scenario: arrivals from a seed.")]
TraceFile = Annotated[
    Path | None, typer.Option("--trace", metavar="CSV", help="A recorded trace, one row per action.")
]
Workers = Annotated[int, typer.Option(min=1, max=10_000, help="Worker processes.")]
Slots = Annotated[int, typer.Option(min=1, max=500, help="Actions that each of them runs at once.")]
Seed = Annotated[int, typer.Option(help="Of the random numbers of a scenario, or of invented tenants.")]
WhatIf = Annotated[
    list[str] | None, typer.Option(metavar="workers=N,…", help="Compare fleets; slots=N,… too.")
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="TIER.p99=2s", help="Must hold; p50, p95, p99, max or starvation."),
]
MostWorkers = Annotated[int, typer.Option(min=1, max=10_000, help="Where the search for a fleet ends.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, every tenant included.")]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plots.")]
Tenants = Annotated[int, typer.Option(min=0, help="Show so many tenants that waited longest.")]
_TRACE = "Columns of a trace"
TimeColumn = Annotated[
    str, typer.Option(metavar="NAME", rich_help_panel=_TRACE, help="When the action arrived.")
]
TimeFormat = Annotated[
    str, typer.Option(rich_help_panel=_TRACE, help="auto, iso, s, ms, or as of strptime: %d.%m.%Y %H:%M")
]
TenantColumn = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=_TRACE, help="Whose it was.")]
DurationColumn = Annotated[str, typer.Option(metavar="NAME", rich_help_panel=_TRACE, help="How long it ran.")]
DurationUnit = Annotated[
    str,
    typer.Option(
        rich_help_panel=_TRACE, help="s, ms, us, or as 25ms per token; auto: as the column's name ends."
    ),
]
InventTenants = Annotated[
    int,
    typer.Option(
        min=0,
        max=1_000_000,
        rich_help_panel=_TRACE,
        help="No tenant column: deal the rows to so many tenants.",
    ),
]
Skew = Annotated[
    float,
    typer.Option(
        min=0,
        max=10,
        rich_help_panel=_TRACE,
        help="The k-th of them gets in proportion to 1/k^skew; 0: all alike.",
    ),
]
TypeColumn = Annotated[
    str, typer.Option(metavar="NAME", rich_help_panel=_TRACE, help="Its action type; default: all alike.")
]
TierRuleText = Annotated[
    str,
    typer.Option(
        "--tier-rule",
        metavar="RULE",
        rich_help_panel=_TRACE,
        help="column:NAME, fixed:TIER, or share:enterprise=1%,free=rest (the busiest 1 % of tenants).",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=VALUE", rich_help_panel=_TRACE, help="Only such rows; != for others."),
]
Fit = Annotated[
    str | None, typer.Option(metavar="24h", rich_help_panel=_TRACE, help="Squeeze arrivals into this time.")
]
Limit = Annotated[int, typer.Option(min=0, rich_help_panel=_TRACE, help="Only the first rows; 0: all.")]
Domain = Annotated[
    str, typer.Option(rich_help_panel=_TRACE, help="Whose rules hold; default: that of the action types.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    simulate_record.register(simulate)
    app.add_typer(simulate, name="simulate")


@simulate.callback()
def run(
    context: typer.Context,
    policy: Policies = None,
    workload: Workload = None,
    trace: TraceFile = None,
    workers: Workers = 8,
    slots: Slots = 10,
    seed: Seed = 1,
    what_if: WhatIf = None,
    target: Targets = None,
    max_workers: MostWorkers = 256,
    tenants: Tenants = 0,
    html: Html = None,
    as_json: AsJson = False,
    time_column: TimeColumn = "arrival_ms",
    time_format: TimeFormat = "auto",
    tenant_column: TenantColumn = "tenant",
    duration_column: DurationColumn = "run_ms",
    duration_unit: DurationUnit = "auto",
    invent_tenants: InventTenants = 0,
    skew: Skew = 1.0,
    type_column: TypeColumn = "",
    tier_rule: TierRuleText = "column:tier",
    where: Where = None,
    fit: Fit = None,
    limit: Limit = 0,
    domain: Domain = "",
) -> int:
    """Say what a policy would do to your tenants: who waits how long, held by what, on how many workers.

    Plays a scenario, or a recorded trace, on the scripts that decide in production: on a temporary server,
    under virtual time. The same seed gives the same schedule. With --target, exit code 1 when it is missed
    (by every fleet of --what-if), and the smallest fleet that meets it.

    nooble simulate --policy config/tiers.toml --workload config/scenarios/rush.toml

    nooble simulate --policy tiers.toml --policy other.toml --trace day.csv --what-if workers=4,8,16

    nooble simulate --policy tiers.toml --trace day.csv --target enterprise.p99=2s --html report.html
    """
    if context.invoked_subcommand:
        return OK
    policies = _asked(context, policy, workload, trace, bool(invent_tenants))
    from nooble_tasks._engine import simulation

    from .simulate_work import Question, answer, fleets

    try:
        tried = fleets(workers, slots, what_if or ())
        if workload:
            load = simulation.Scenario.load(workload).generate(seed)
        else:
            form = simulation.TraceFormat(
                time_column=time_column,
                tenant_column=tenant_column,
                duration_column=duration_column,
                duration_unit=duration_unit,
                type_column=type_column,
                time_format=time_format,
                where=tuple(where or ()),
                fit_ms=_span_ms(fit) if fit else 0,
                limit=limit,
                domain=domain,
                invent=invent_tenants,
                skew=skew,
                seed=seed,
            )
            load = simulation.read_trace(trace or "", form, simulation.parse_tier_rule(tier_rule))
        if html:
            _can_be_written(html)
        found = run_async(answer(Question(load, policies, tried, target or (), max_workers)))
    except simulation.OptionError as error:
        raise Ended(str(error), USAGE) from None
    if html:
        _write_page(found, html)
    if as_json:
        print_json({"seed": seed if workload or invent_tenants else None, **found.to_dict()})
    else:
        _show(found, tenants, html)
    return OK if found.kept else FAILED


def _asked(
    context: typer.Context,
    policies: list[str] | None,
    workload: Path | None,
    trace: Path | None,
    invents: bool,
) -> list[str]:
    """The policies, if what was said goes together; else the command ends."""
    if not policies or bool(workload) == bool(trace):
        missing = "--policy FILE" if not policies else "either --workload FILE or --trace CSV"
        raise Ended(f"say {missing}\n`nooble simulate --help` has examples", USAGE)
    given = [
        parameter
        for parameter in context.command.params
        if getattr(context.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"
    ]
    for parameter in given:
        if workload and getattr(parameter, "rich_help_panel", "") == _TRACE:
            raise Ended(f"{parameter.opts[0]} is about a trace; a scenario says that itself", USAGE)
        if trace and not invents and parameter.name == "seed":
            raise Ended("--seed is of random numbers; a trace has none, but for --invent-tenants", USAGE)
        if trace and not invents and parameter.name == "skew":
            raise Ended("--skew is about the tenants of --invent-tenants", USAGE)
    return policies


def _can_be_written(page: Path) -> None:
    """Before everything is computed; nothing is left of the try, and an earlier page stays until then."""
    is_new = not page.exists()
    try:
        page.open("a", encoding="utf-8").close()
        if is_new:
            page.unlink()
    except OSError as error:
        raise Ended(f"{page}: cannot be written: {error.strerror or error}") from None


def _write_page(found: Answer, to: Path) -> None:
    from .simulate_html import page

    to.write_text(page(found), encoding="utf-8")


def _show(found: Answer, tenants: int, html: Path | None) -> None:
    from .simulate_view import show

    show(found, tenants)
    if html:
        out().print(f"\n{html} has the plots", style="dim")


def _span_ms(text: str) -> int:
    from nooble_tasks._engine import simulation

    try:
        ms = simulation.span_ms(text)
    except ValueError as error:
        raise simulation.OptionError(f"--fit: {error}") from None
    if not ms:
        raise simulation.OptionError("--fit: into no time nothing fits; write 24h")
    return ms
