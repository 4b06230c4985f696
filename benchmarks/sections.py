"""The words of docs/benchmarks.md; its figures come from runs."""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A scenario on the page."""

    scenario: str
    heading: str
    text: str


INTRO = """\
# Benchmarks

Made by `python -m benchmarks report` from [runs.json](benchmarks/runs.json); a test compares page and
data, so nothing here is written by hand. Every cell is the median of the rounds with (least..most); the
rounds of all peers are interleaved, on one server, on one machine. Machines differ by a factor of two
and more, and so does one machine within a day: compare within a table only. `make bench ARGS="..."`
with the arguments of a command below measures yours.
"""

_SPEED = """\
Enqueue all, then drain with one worker process of 100 slots (threads, where a peer has threads);
results stored. The clock stops when the last result is stored. µs are CPU time per action: of the
worker while it drains, and of the server for enqueue and drain. `bulk` is the fastest documented way to
enqueue many from one process, `one by one` waits for each. nooble-tasks validates models and checks
limits and quotas of every tenant on the way; rivals have one queue and no tenants. `redis-py and no
queue at all` reads and acknowledges 100 stream entries per script call.
"""
_SLEEP = """\
The same with handlers that sleep for 1 ms.
"""
_LARGE = """\
The same with a no-op that is given 10 KB of text.
"""
_CALLS = """\
One caller sends an action, waits for its result, and sends the next; another process works. At the best
documented settings: peers that poll do so every few milliseconds, and pay for it in the next table.
"""
_IDLE = """\
Commands that the server runs per second for one worker with nothing to do (`INFO commandstats`, those
inside scripts included), with the same settings as for the calls above.
"""
_NOISY = """\
One tenant enqueues 10,000 actions of 2 ms; then a worker with 10 slots starts, and 50 tenants enqueue
10 each. `wait` is what the 50 wait from enqueue to start. As installed the rivals have one queue, first
come first served; where they have priorities that reach the queue, they are set by hand in the second
row.
"""
_CRASH = """\
A worker is killed when 100 actions have started in it; a second one starts at once. How long after the
kill the first and the last of the 100 run again: with settings as installed, and tuned for recovery as
the peer's documents allow (the table of settings says how, and what it costs: some end every action
that takes longer than a few seconds).
"""
GROWTH = """\
One call hands in 10 actions and takes 10, limits and quotas on, with so many tenants in line, each with
work. `flat` is the figure over that of 10 tenants.
"""
VERBS = """\
Per action, in calls of 100 actions of 100 tenants with limits and quotas on: commands that a verb's
script runs, and its time on the server.
"""
ALONE = """\
`alone`: the same in calls of one action, as they are made by senders that wait for each and by workers
with little to do.
"""
MEMORY = """\
100,000 tenants send an action each and are served; then a day passes. `left` is compared with the state
before; `events` is the bounded stream of outcomes that history and metrics follow.
"""
SETTINGS = """\
Exact versions of everything a rival needs are in `benchmarks/rivals/requirements-*.txt`, its code
beside them.
"""
UNDER_TABLE = """\
Medians, on one machine ({machine}, {server}, Python {python}); one worker process with 100
slots, results stored, limits and quotas of 100 or 10,000 tenants checked. Machines differ by a factor
of two and more: compare within the table only. [docs/benchmarks.md](docs/benchmarks.md) has spreads,
other loads, settings and the commands.
"""

SECTIONS = (
    Section("speed", "No-op", _SPEED),
    Section("sleep", "1 ms of sleep", _SLEEP),
    Section("large", "10 KB of payload", _LARGE),
    Section("calls", "Round trip of a call on an idle system", _CALLS),
    Section("idle", "An idle worker", _IDLE),
    Section("noisy", "Noisy neighbour", _NOISY),
    Section("crash", "kill -9 with 100 actions in flight", _CRASH),
)
