"""``python -m benchmarks report [RUN.json …]``: the results page, its plots and the README's table.

Runs are what ``--json`` printed; they are merged into docs/benchmarks/runs.json, a scenario of a later file
in place of the same one before. Without files everything is made again from what is there. Nothing on the
page is written by hand: tests compare it with what is made from the data.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from . import page, plots
from .figures import Table, from_json

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "benchmarks"
DATA = FOLDER / "runs.json"
PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- benchmarks: .*? -->\n)(.*?)(<!-- end of benchmarks -->)", re.DOTALL)


def merged(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs, each with the scenarios that no later run has measured again."""
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for run in reversed(runs):
        scenarios = {name: table for name, table in run["scenarios"].items() if name not in seen}
        if scenarios:
            kept.insert(0, run | {"scenarios": scenarios})
            seen |= scenarios.keys()
    return kept


def tables(runs: list[dict[str, Any]]) -> dict[str, Table]:
    """Scenario -> its table."""
    return {name: from_json(table) for run in runs for name, table in run["scenarios"].items()}


def files(runs: list[dict[str, Any]], readme: str) -> dict[Path, str]:
    """What is generated: path -> text."""
    found = tables(runs)
    made = {PAGE: page.page(runs, found)}
    if "scaling" in found:
        made |= {FOLDER / name: svg for name, svg in plots.growth(found["scaling"]).items()}
    if not _BLOCK.search(readme):
        raise SystemExit("README.md has no place for the benchmarks.\nNext step: put the two comments back.")
    made[README] = _BLOCK.sub(lambda at: at[1] + page.summary(runs, found) + at[3], readme)
    return made


def main(arguments: list[str]) -> None:
    """Read, merge, write."""
    if set(arguments) & {"-h", "--help"}:
        print(__doc__)
        return
    runs = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else []
    for name in arguments:
        try:
            run = json.loads(Path(name).read_text(encoding="utf-8"))
            runs.append({part: run[part] for part in ("about", "scenarios", "failed", "cut")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            sys.exit(
                f"{name} is not the result of a run: {error!r}\n"
                f"Next step: python -m benchmarks speed --json > {name}"
            )
    if not runs:
        sys.exit(
            "there are no runs yet.\nNext step: python -m benchmarks speed --json > run.json, and name it."
        )
    runs = merged(runs)
    FOLDER.mkdir(parents=True, exist_ok=True)
    DATA.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    for path, text in files(runs, README.read_text(encoding="utf-8")).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
