"""`nooble dead redrive` and `discard` at work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from .console import err, print_json, warn
from .exits import FAILED, OK, USAGE, Ended
from .loops import run_async

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.dead_letters import LetterQuery, LetterReport

    Act = Callable[..., Awaitable[LetterReport]]


async def meant(client: BaseRedisClient, domain: str | None, tenant: str | None) -> list[str]:
    """The domains to look in; a tenant that is named is known there."""
    return await client.inspector.check(domains=[domain] if domain else [], tenant_id=tenant or "")


async def check_type(client: BaseRedisClient, domains: Sequence[str], action_type: str | None) -> None:
    """Where a type matched nothing: has it been seen at all?"""
    if action_type and not action_type.endswith("*"):
        await client.inspector.check(domains=domains, action_type=action_type)


class Work:
    """What `redrive` and `discard` share: domain after domain, a bar, an account of what was done."""

    def __init__(
        self,
        done: str,
        verb: str,
        ids: Sequence[str],
        domain: str | None,
        query: LetterQuery,
        options: dict[str, Any],
    ) -> None:
        self._done = done
        self._verb = verb
        self._ids = ids
        self._domain = domain
        self._query = query
        self._options = options
        self._reports: dict[str, LetterReport] = {}

    async def count(self) -> int:
        """How many letters are meant."""
        self._say_which()
        await self._each(dry_run=True)
        return self._matched

    def run(self, *, dry_run: bool, as_json: bool) -> int:
        """Do it and tell, also when interrupted."""
        self._say_which()
        try:
            run_async(self._with_bar(dry_run=dry_run))
        except BaseException:
            if self._matched:
                self._tell(dry_run=dry_run, as_json=as_json, interrupted=True)
            raise
        if self._ids and not self._matched:
            raise Ended(f"no dead letter {' '.join(self._ids)}\n`nooble dead list` shows those there are")
        self._tell(dry_run=dry_run, as_json=as_json)
        return FAILED if any(report.refused for report in self._reports.values()) else OK

    def _say_which(self) -> None:
        if not (self._ids or any(self._query.values()) or self._options["everything"]):
            raise Ended(
                "which ones? give ids, or a filter: --tenant, --type, --reason, --since, --until, --all",
                USAGE,
            )

    @property
    def _matched(self) -> int:
        return sum(report.matched for report in self._reports.values())

    async def _with_bar(self, *, dry_run: bool) -> None:
        if dry_run or not err().is_terminal:
            await self._each(dry_run=dry_run)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        total = await self.count()
        self._reports.clear()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err(), transient=True) as bar:
            task = bar.add_task(self._done, total=total)
            await self._each(dry_run=False, tick=lambda matched: bar.update(task, completed=matched))

    async def _each(self, *, dry_run: bool, tick: Callable[[int], None] | None = None) -> None:
        from .connection import connected

        async with connected() as client:
            where = await meant(client, self._domain, self._query.get("tenant_id"))
            for domain in where:

                def note(report: LetterReport, domain: str = domain) -> None:
                    self._reports[domain] = report
                    if tick is not None:
                        tick(self._matched)

                act: Act = getattr(client.dead_letters, self._verb)
                options = {**self._options, **self._query, "dry_run": dry_run, "on_progress": note}
                note(await act(domain, *self._ids, **options))
            if not self._matched:
                await check_type(client, where, self._query.get("action_type"))

    def _tell(self, *, dry_run: bool, as_json: bool, interrupted: bool = False) -> None:
        reports = {name: report for name, report in self._reports.items() if report.matched}
        if as_json:
            domains = {name: report._asdict() for name, report in reports.items()}
            print_json({"dry_run": dry_run, "interrupted": interrupted, "domains": domains})
            return
        matched = sum(report.matched for report in reports.values())
        if dry_run:
            print(f"{matched:,} dead letters would be {self._done}")
            return
        print(f"{sum(report.done for report in reports.values()):,} of {matched:,} {self._done}")
        if interrupted:
            warn("interrupted: what is done stays done, the others stay dead letters")
        for name, report in reports.items():
            for why, many in report.refused.items():
                warn(f"{name}: {many:,} not {self._done}: {why}")
