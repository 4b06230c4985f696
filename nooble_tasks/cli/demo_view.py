"""What a running demo shows: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .demo_ledger import OPEN, Ledger
from .demo_plan import TenantPlan
from .demo_watch import ASKED_DOMAINS, Watch
from .figures import count, duration, quantile

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text


class DemoView:
    """Renders what watch and ledger know. `length_s`: for how long the tenants work."""

    def __init__(
        self, plans: Sequence[TenantPlan], ledger: Ledger, watch: Watch, length_s: float, server: str
    ) -> None:
        self._plans = plans
        self._ledger = ledger
        self._watch = watch
        self._length_s = length_s
        self._server = server

    def render(self, elapsed_s: float, phase: str, console: Console) -> RenderableType:
        """The whole picture."""
        from rich.console import Group

        parts: list[RenderableType] = [
            self._head(elapsed_s, phase, console.width),
            "",
            self._tiers(console.width),
            "",
        ]
        noisy = next((plan for plan in self._plans if plan.role == "noisy"), None)
        if noisy is not None:
            parts += [self._noisy(noisy), ""]
        return Group(*parts, *self._tenants())

    def line(self, elapsed_s: float, phase: str) -> str:
        """One line for a log."""
        parts = []
        for tier in self._tier_names():
            now = self._watch.tier(tier)
            p99 = duration(quantile(now.queue_ms, 0.99))
            parts.append(f"{tier}: {now.done:,} done, {now.held:,} held, queue p99 {p99}")
        return f"{elapsed_s:3.0f} s {phase}  {'  |  '.join(parts)}"

    def _tier_names(self) -> list[str]:
        present = {plan.tier for plan in self._plans}
        return [tier for tier in self._watch.engine.policy.names() if tier in present]

    def _head(self, elapsed_s: float, phase: str, width: int) -> Text:
        from rich.text import Text

        long = 20 if width < 100 else 30
        filled = round(long * min(elapsed_s / self._length_s, 1.0))
        return Text.assemble(
            ("nooble demo  ", "bold"),
            ("━" * filled, "green"),
            ("━" * (long - filled), "bright_black"),
            f"  {min(elapsed_s, self._length_s):.0f} of {self._length_s:.0f} s  ",
            (phase, "cyan"),
            (f"  {self._server}" if width >= 100 else "", "dim"),
        )

    def _tiers(self, width: int) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        gap = 0 if width < 100 else 2
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
        table.add_column("tier", no_wrap=True, min_width=12)
        for name in ("tenants", "ready", "held", "running", "done", "queue p50", "p99"):
            table.add_column(name, justify="right", no_wrap=True, min_width=7)
        for tier in self._tier_names():
            now = self._watch.tier(tier)
            table.add_row(
                Text(tier, style="bold"),
                str(sum(plan.tier == tier for plan in self._plans)),
                count(now.ready),
                Text(count(now.held), style="yellow" if now.held else ""),
                Text(count(now.running), style="green" if now.running else ""),
                count(now.done),
                duration(quantile(now.queue_ms, 0.5)),
                duration(quantile(now.queue_ms, 0.99)),
            )
        return table

    def _noisy(self, plan: TenantPlan) -> Text:
        from rich.text import Text

        of_tenant = self._ledger.per_tenant().get(plan.tenant_id)
        if of_tenant is None:
            return Text(f"{plan.tenant_id} is about to flood", style="dim")
        done = self._watch.done_by_tenant[plan.tenant_id]
        hold = next((self._watch.holds.get((d, plan.tenant_id)) for d in ASKED_DOMAINS), None)
        text = Text.assemble((plan.tenant_id, "bold red"), f" sent {of_tenant.total():,}: {done:,} done, ")
        if hold is not None and of_tenant[OPEN]:
            text.append(f"{of_tenant[OPEN]:,} held", "yellow")
            text.append(f" by {hold.limit}")
            left_ms = (hold.until_ms or 0) - self._watch.engine.clock.now_ms()
            if left_ms > 0:
                text.append(f", next in {duration(left_ms)}")
        else:
            text.append(f"{of_tenant[OPEN]:,} waiting")
        return text

    def _tenants(self) -> list[Text]:
        """A number per tenant: how many of its actions are done."""
        from rich.text import Text

        per_tenant, now_ms = self._ledger.per_tenant(), self._watch.engine.clock.now_ms()
        held = {
            tenant_id for (_, tenant_id), hold in self._watch.holds.items() if (hold.until_ms or 0) > now_ms
        }
        lines = [
            Text.assemble(
                ("done per tenant  ", "dim"),
                ("all answered", "green"),
                ("  some waiting  ", ""),
                ("held by a limit", "yellow"),
                ("  no start yet", "dim"),
            )
        ]
        for tier in self._tier_names():
            line = Text(f"{tier:<13}", style="bold")
            for plan in self._plans:
                if plan.tier != tier:
                    continue
                done = self._watch.done_by_tenant[plan.tenant_id]
                waiting = per_tenant.get(plan.tenant_id, Counter())[OPEN]
                style = "yellow" if plan.tenant_id in held and waiting else "" if waiting else "green"
                line.append(f"{done:>3} ", style if done else "dim")
            lines.append(line)
        return lines
