"""One run of the demo from the first process to the report."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nooble_tasks.client import BaseRedisClient

from .connection import connected
from .console import err, out
from .demo_application import Application, Text, find_application
from .demo_closing import close_books
from .demo_ledger import Ledger
from .demo_load import Tenant, run_tenants
from .demo_plan import FULL_S, TenantPlan, folder_plan, library_plan
from .demo_report import Report, checks, tier_reports
from .demo_system import DemoSystem
from .demo_view import DemoView
from .demo_watch import DOMAINS, Watch

if TYPE_CHECKING:
    from rich.live import Live

T = TypeVar("T")

_MOST_TEXTS = 400
_REFRESH_S = 0.5
_LINE_EVERY_S = 5.0
_SAMPLES = 3


async def run_demo(
    path: Path | None, seconds: float, *, keep: bool, quiet: bool, finished: Callable[[Report], None]
) -> Report:
    """Run it; `finished` gets the report before a system that is to be kept ends. Raises DemoFailed."""
    application = find_application()
    say = _sayer(quiet)
    began = time.monotonic()
    async with DemoSystem(application, DOMAINS) as system:
        say(f"{system.server.binary}, workers: {', '.join(DOMAINS)}; reading the texts")
        texts = await asyncio.to_thread(_texts, application, path, seconds)
        async with connected(system.server.url, service_name="nooble_demo") as client:
            watch, ledger = Watch(client.bus.engine), Ledger()
            await system.ready(watch.engine, DOMAINS)
            plans = library_plan(texts, seconds) if path is None else folder_plan(texts, seconds)
            tiers = {plan.tenant_id: plan.tier for plan in plans}
            await client.bus.registry.register_many(tiers, by="demo", why="the demo's tenants")
            report = await _Run(client, system, plans, ledger, watch, seconds, quiet).report(began)
        finished(report)
        if keep:
            say("still running until Ctrl-C; look at it in another terminal with")
            say(f"NOOBLE_REDIS_URL='{system.server.url}' nooble status")
            with contextlib.suppress(asyncio.CancelledError):
                await system.ended()
    return report


def _texts(application: Application, path: Path | None, seconds: float) -> Sequence[Text]:
    if path is not None:
        return application.folder_texts(path)
    return list(application.library_texts(max(int(_MOST_TEXTS * min(seconds / FULL_S, 1.0)), 60)))


def _sayer(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet else err().print(line, style="dim")


class _Run:
    """Load, view and closing of one run."""

    def __init__(
        self,
        client: BaseRedisClient,
        system: DemoSystem,
        plans: Sequence[TenantPlan],
        ledger: Ledger,
        watch: Watch,
        seconds: float,
        quiet: bool,
    ) -> None:
        self._client = client
        self._system = system
        self._plans = plans
        self._ledger = ledger
        self._watch = watch
        self._seconds = seconds
        self._quiet = quiet
        self._phase = "working"
        self._started = time.monotonic()
        binary = system.server.binary
        self._view = DemoView(
            plans, ledger, watch, seconds, f"{binary.kind} {binary.version_text}, 3 workers"
        )

    async def report(self, began: float) -> Report:
        """Let the tenants work, close the books, add up."""
        tenants = [Tenant(plan, self._client, self._ledger) for plan in self._plans]
        stopping = asyncio.Event()
        following = asyncio.create_task(self._watch.follow(stopping))
        with self._live() as live:
            showing = asyncio.create_task(self._show(live))
            try:
                await self._unless_workers_end(run_tenants(tenants, self._seconds))
                self._phase = "closing the books"
                stopping.set()
                await following
                held = await self._unless_workers_end(close_books(self._client, self._ledger, self._watch))
            finally:
                for task in (following, showing):
                    task.cancel()
                await asyncio.gather(following, showing, return_exceptions=True)
                for tenant in tenants:
                    await tenant.finish()
        return self._add_up(held, time.monotonic() - began)

    async def _unless_workers_end(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; DemoFailed as soon as the workers were given up."""
        working, ended = asyncio.create_task(work), asyncio.create_task(self._system.ended())
        try:
            await asyncio.wait((working, ended), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self._system.check()
            return await working
        finally:
            working.cancel()
            ended.cancel()
            await asyncio.gather(working, ended, return_exceptions=True)

    def _live(self) -> contextlib.AbstractContextManager[Live | None]:
        if self._quiet or not out().is_terminal:
            return contextlib.nullcontext()
        from rich.live import Live

        return Live(console=out(), auto_refresh=False, transient=True)

    async def _show(self, live: Live | None) -> None:
        """Keep the view current, until cancelled."""
        last_line = 0.0
        while True:
            elapsed = time.monotonic() - self._started
            if live is not None:
                live.update(self._view.render(elapsed, self._phase, out()), refresh=True)
            elif elapsed - last_line >= _LINE_EVERY_S:
                last_line = elapsed
                err().print(self._view.line(elapsed, self._phase))
            await asyncio.sleep(_REFRESH_S)

    def _add_up(self, held: dict[str, int], seconds: float) -> Report:
        kept = checks(self._plans, self._ledger, self._watch)
        texts = [text for plan in self._plans for text in plan.texts[: sum(many for _, many in plan.uploads)]]
        return Report(
            tiers=tier_reports(self._plans, self._ledger, self._watch, held),
            checks=kept,
            seconds=seconds,
            documents=len(texts),
            megabytes=sum(len(text.text.encode()) for text in texts) / 1_000_000,
            progress_callbacks=self._ledger.progress_callbacks,
            errors=dict(self._ledger.errors.most_common(5)),
            samples=self._samples(),
            ok=all(check.kept for check in kept),
        )

    def _samples(self) -> list[dict[str, Any]]:
        """Some questions with the best passage found, well apart from each other."""
        found = [answer for answer in self._ledger.answers if answer.found]
        step = max(len(found) // _SAMPLES, 1)
        return [
            {
                "question": answer.question,
                "title": answer.best_title,
                "passage": answer.best_text[:300],
                "score": answer.score,
            }
            for answer in found[::step][:_SAMPLES]
        ]
