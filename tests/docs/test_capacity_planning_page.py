"""docs/capacity-planning.md: its commands give its figures again, and its arithmetic is right.

`NOOBLE_TEST_WRITE_DOCS=1 pytest tests/docs/test_capacity_planning_page.py` writes the outputs into the page.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from tests.nooble_tasks.looking import Nooble

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "capacity-planning.md"
WRITE = bool(os.environ.get("NOOBLE_TEST_WRITE_DOCS"))
_CONSOLE = re.compile(r"```console\n\$ (nooble simulate [^\n]+)\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"(```python\n(.*?)```\n\n```text\n)(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped configuration, and the page's change of it as `stricter.toml`."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    [more] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    head = "[tiers.professional]\n"
    text = (ROOT / "config" / "tiers.toml").read_text(encoding="utf-8")
    assert head in text
    (tmp_path / "stricter.toml").write_text(text.replace(head, head + more), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("folder")
async def test_the_commands_give_the_figures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nooble, page, different = Nooble(monkeypatch), PAGE.read_text(encoding="utf-8"), []
    blocks = _CONSOLE.findall(page)
    assert len(blocks) >= 3
    for command, shown in blocks:
        done = await nooble(*shlex.split(command)[1:], columns=88)
        assert done.code == (1 if "--target" in command else 0), done.err
        said = "\n".join(line.rstrip() for line in done.out.splitlines()) + "\n"
        if WRITE:
            page = page.replace(f"$ {command}\n{shown}```", f"$ {command}\n{said}```")
        elif said != shown:
            different.append(f"{command}:\n{said}")
    if WRITE:
        PAGE.write_text(page, encoding="utf-8")
    assert not different, "NOOBLE_TEST_WRITE_DOCS=1 writes the page anew; it differs in " + "\n".join(
        different
    )


def test_the_arithmetic_of_scale() -> None:
    page = PAGE.read_text(encoding="utf-8")
    [(head, code, shown)] = _PYTHON.findall(page)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    if WRITE:
        PAGE.write_text(page.replace(head + shown, head + printed.getvalue()), encoding="utf-8")
    else:
        assert printed.getvalue() == shown


def test_the_figures_of_scale_are_those_that_were_measured() -> None:
    """They are copied from the results page: after `python -m benchmarks report` copy them anew."""
    found = report.tables(json.loads(report.DATA.read_text(encoding="utf-8")))

    def measured(scenario: str, subject: str, figure: str) -> float:
        return found[scenario][subject][figure].median

    page, figures = PAGE.read_text(encoding="utf-8"), dict[str, Any]()
    [(_, code, _)] = _PYTHON.findall(page)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, figures)
    assert figures["server_us"] == {
        tenants: round(measured("speed", f"ours, {tenants:,}", "server_us"), 2) for tenants in (100, 10_000)
    }
    assert figures["worker_us"] == round(measured("speed", "ours, 100", "worker_us"), 2)
    assert figures["tenants_mb"] == round(measured("memory", "100,000 tenants", "memory_full_mb"))
    few, many = (measured("scaling", tenants, "server_us_per_action") for tenants in ("10", "10,000"))
    assert f"10 tenants in line and with 10,000 ({few:.0f} and {many:.0f} µs per action" in " ".join(
        page.split()
    )
