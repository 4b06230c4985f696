"""`python -m nooble_tasks.cli` is `nooble`, also where no script was installed."""

from __future__ import annotations

from nooble_tasks.cli import main

main()
