"""Every Redis key of the queue: its name, its type, how long it lives.

Three families:

* the **work streams**, named ``<domain>:<tenant_id>:<tier>`` exactly;
* the engine's own keys of a domain, all under ``<prefix>:<domain>:``;
* what all domains share, under ``<prefix>::``.

On a Cluster the domain is written as a hash tag (``{embedding}``), so the keys that one script touches
share a slot. A shared key is a slot of its own: one plain command each. ``CATALOGUE`` is the single list: Python formats keys from it, the script loader writes the
``local …_key`` lines of each Lua script from it, and ``docs/keys.md`` is generated from it.
"""

from __future__ import annotations

from typing import NamedTuple

GROUP = "workers"
"""The one consumer group of every work stream."""

RUNNING = "running"
PARKED = "parked"
"""The two consumers of the group. A consumer's name costs memory in every stream it touched
(160 bytes, Redis 7.0), so they are states, not processes: who owns an action is in ``owned``."""


class KeySpec(NamedTuple):
    """One line of the catalogue. ``suffix`` ends in a placeholder when there is one key per something."""

    name: str
    suffix: str
    redis_type: str
    lifetime: str
    holds: str


CATALOGUE: tuple[KeySpec, ...] = (
    KeySpec("policy", "policy", "string", "kept", "compiled policy as JSON; read by every claim"),
    KeySpec("unsettled", "unsettled", "string", "until the holds it caused are looked at", "the policy that was replaced, empty when there were several"),
    KeySpec("registry", "registry", "hash", "kept, one field per registered tenant", "tenant → its tier, and `drain` while it takes no new work; `*` → what enqueue needs of the policy"),
    KeySpec("moving", "moving", "hash", "until the move has ended", "tenant → the move it is on: id, how far, to which tier and from which, by whom and why; `tier <tier>` → the tier into which one that is gone is emptied"),
    KeySpec("ready", "ready:<tier>", "zset", "while a tenant can start", "tenant → virtual start time"),
    KeySpec("waiting", "waiting", "hash", "while something waits", "tenant:tier → how many actions could start; such a tenant is in `ready` or `held`"),
    KeySpec("held", "held", "zset", "while a limit binds", "tenant:tier → time (ms) the limit frees; inf: no time known"),
    KeySpec("held_why", "held_why", "hash", "with `held`", "tenant:tier → the limit that binds"),
    KeySpec("tags", "tags:<tier>", "zset", "until virtual time passes", "tenant outside `ready` → its next virtual start time"),
    KeySpec("fairness", "fairness", "hash", "kept, a few fields per tier", "virtual time and share credit of each tier, claim counter"),
    KeySpec("overrides", "overrides", "hash", "until cleared", "tenant → its own weight, limits, concurrency or pause, by whom, when, why (JSON)"),
    KeySpec("pauses", "pauses", "hash", "until resumed", "`domain`, `tier:<tier>` or `type:<action type>` → paused by whom, when, why (JSON); `resuming:<action type>` while entries come back"),
    KeySpec("set_aside", "set_aside:<type>", "zset", "until resumed or cancelled", "entry, tenant:tier and id of each action of a paused type that was next in its line"),
    KeySpec("backpressure", "backpressure", "zset", "until it ends", "limit scope → time (ms) until which handlers said not now"),
    KeySpec("usage", "usage", "hash", "until the window ends", "limit scope → state of its limits (msgpack); a scope is `tenant:tier`, `*:tier`, `*` (the domain) or `@limit`"),
    KeySpec("zone_periods", "zone_periods", "hash", "kept, one field per kind of period and time zone", "calendar periods of tenants with a time zone of their own: name → start and end (ms) of the last one asked for"),
    KeySpec("usage_due", "usage_due", "zset", "with `usage`", "limit scope → time (ms) its state is worthless"),
    KeySpec("scheduled", "scheduled", "zset", "until due", "action id → due time (ms): delayed and retrying actions"),
    KeySpec("delayed", "delayed", "hash", "until due", "action id → header and payload of an action not yet in its stream"),
    KeySpec("delayed_count", "delayed_count", "hash", "with `delayed`", "tenant:tier → how many of its actions are in `delayed`"),
    KeySpec("returned", "returned:<tenant>:<tier>", "zset", "until claimed", "entries given back, next in line in stream order"),
    KeySpec("returned_count", "returned_count", "hash", "with `returned`", "tenant:tier → how many of `waiting` are in `returned`"),
    KeySpec("schedules", "schedules", "hash", "until deleted; at most 10,000", "schedule id → revision, declaration, pause, definition and payload"),
    KeySpec("schedules_due", "schedules_due", "zset", "with `schedules`", "schedule id → its next due time (ms); without those that are paused"),
    KeySpec("schedules_fired", "schedules_fired", "hash", "with `schedules`", "schedule id → its last due time, when it was fired, as which action"),
    KeySpec("schedules_history", "schedules_history", "hash", "with `schedules`", "schedule id → the newest 1,000 due times that were fired, six bytes each"),
    KeySpec("schedule_owners", "schedule_owners", "hash", "with `schedules`", "schedule id → the service whose code declares it"),
    KeySpec("declarations", "declarations", "hash", "while the worker lives", "worker id → the schedules that its code declares"),
    KeySpec("backfills", "backfills", "zset", "the newest 1,000", "schedule id, from, to → how far that backfill is (ms)"),
    KeySpec("actions", "actions", "hash", "while the action is alive", "action id → its stream and entry id, and its type while it is set aside"),
    KeySpec("attempts", "attempts", "hash", "while the action is alive", "action id → workers that died with it, then its failed attempts, a line of JSON each"),
    KeySpec("parents", "parents", "set", "while the action is alive", "actions that have sent others"),
    KeySpec("children", "children:<action>", "list", "while the action is alive; with `cancelled_parents` when it was cancelled", "what it has sent in all its attempts, the newest 10,000"),
    KeySpec("cancelled_parents", "cancelled_parents", "zset", "until any worker has reached what they have sent", "cancelled action → time (ms) from which any worker goes over its children"),
    KeySpec("unique_holders", "unique_holders", "hash", "while the action is alive", "unique key → action id"),
    KeySpec("done", "done:<period>", "hash", "one to two duplicate windows", "action id → outcome, so that a late duplicate is known"),
    KeySpec("latest_time", "latest_time", "string", "kept", "the latest time (ms) at which somebody looked after the domain, ten minutes or so"),
    KeySpec("workers", "workers", "zset", "while the worker lives", "worker id → lease end (ms)"),
    KeySpec("worker_info", "worker_info", "hash", "while the worker lives", "worker id → what it says about itself, as JSON"),
    KeySpec("owned", "owned:<worker>", "hash", "while the worker lives", "action id → claim token, stream, entry, attempt, when it started, what that was charged: the fence of `finish`"),
    KeySpec("cancelling", "cancelling:<worker>", "set", "until the action finishes", "owned actions whose cancellation was asked for"),
    KeySpec("cancel_asked", "cancel_asked", "set", "until the action ends", "actions whose cancellation was asked for while they ran: whoever claims one again does not run it"),
    KeySpec("sleepers", "sleepers", "zset", "while a worker waits", "worker id → since when (ms) it waits for work"),
    KeySpec("mailbox", "mailbox:<worker>", "list", "while the worker lives", "messages to a worker: wake, cancel, quiet, resume, drain, stop"),
    KeySpec("response", "resp:<action>", "list", "result TTL", "the response of one action"),
    KeySpec("notify", "notify:<client>", "list", "60 s after the last push", "responses announced to one client process"),
    KeySpec("callback", "callback:<origin>:<event>[:<context>]", "list", "callback TTL", "callback actions for the service that asked"),
    KeySpec("dead", "dead:<tenant>", "stream", "bounded by count", "dead letters of one tenant"),
    KeySpec("dead_tenants", "dead_tenants", "zset", "while there are dead letters", "tenant → time (ms) of its newest dead letter"),
    KeySpec("counters", "counters", "hash", "kept, a few fields per tier", "tier:outcome → how many since the beginning"),
    KeySpec("operations", "operations", "stream", "bounded by count", "operators' commands: who, when, why"),
    KeySpec("events", "events", "stream", "the newest 5 MB", "outcomes and holds, one entry per script call"),
    KeySpec("events_told", "events_told", "string", "kept", "how many bytes were ever told in `events`"),
    KeySpec("events_marks", "events_marks", "list", "kept, at most 40", "entries of `events`, one where so much more was told, by which it is trimmed"),
)  # fmt: skip

SHARED: tuple[KeySpec, ...] = (
    KeySpec("policies", "policies", "stream", "the last 100 versions", "published policies: text, by, why, at_ms; the entry's id is `<version>-0`"),
    KeySpec("domains", "domains", "set", "kept, one member per domain", "domains that were ever served"),
    KeySpec("tenants", "tenants", "hash", "kept, one field per registered tenant", "tenant → tier, for domains to come"),
    KeySpec("draining", "draining", "set", "until resumed", "tenants that take no new work, for domains to come"),
)  # fmt: skip

BY_NAME = {spec.name: spec for spec in CATALOGUE}


class Keys:
    """Formats keys. Ids are expected to be validated: no ``:``, braces, globs or control characters.

    ``prefix`` is the engine's own first segment (a domain must not have that name);
    ``cluster`` writes the domain as a hash tag.
    """

    __slots__ = ("cluster", "prefix")

    def __init__(self, prefix: str = "nooble", *, cluster: bool = False) -> None:
        self.prefix = prefix
        self.cluster = cluster

    def tag(self, domain: str) -> str:
        """The domain as it stands in keys: ``embedding``, on a Cluster ``{embedding}``."""
        return "{" + domain + "}" if self.cluster else domain

    def root(self, domain: str) -> str:
        """Beginning of the engine's keys of one domain; scripts get it as ``KEYS[1]``."""
        return f"{self.prefix}:{self.tag(domain)}"

    def stream(self, domain: str, tenant_id: str, tier: str) -> str:
        """The work stream ``<domain>:<tenant_id>:<tier>``."""
        return f"{self.tag(domain)}:{tenant_id}:{tier}"

    def parse_stream(self, key: str) -> tuple[str, str, str]:
        """Domain, tenant and tier of a work stream's name; ValueError when it is not one."""
        parts = key.split(":")
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{key!r} is not <domain>:<tenant_id>:<tier>")
        domain, tenant_id, tier = parts
        if self.cluster:
            domain = domain.removeprefix("{").removesuffix("}")
        return domain, tenant_id, tier

    def of(self, name: str, domain: str, *parts: str) -> str:
        """A key of the catalogue: ``of("ready", "embedding", "free")`` → ``nooble:embedding:ready:free``."""
        head = BY_NAME[name].suffix.split("<", 1)[0].rstrip(":")
        return ":".join((self.root(domain), head, *parts))

    def shared(self, name: str) -> str:
        """A key that all domains share: ``shared("policies")`` → ``nooble::policies``."""
        return f"{self.prefix}::{name}"

    def response(self, domain: str, action_id: str) -> str:
        """The unique response list of one action."""
        return f"{self.root(domain)}:resp:{action_id}"

    def notify(self, domain: str, client_id: str) -> str:
        """The notification list of one client process."""
        return f"{self.root(domain)}:notify:{client_id}"

    def mailbox(self, domain: str, worker_id: str) -> str:
        """The list a worker blocks on while it has nothing to do."""
        return f"{self.root(domain)}:mailbox:{worker_id}"

    def callback(self, domain: str, origin: str, event: str, context: str = "") -> str:
        """The list on which service ``origin`` expects callbacks from ``domain``."""
        return ":".join(part for part in (self.root(domain), "callback", origin, event, context) if part)


def lua_key(name: str) -> str:
    """The Lua line that binds a catalogue key: a whole key, or its prefix where there is one per something."""
    suffix = BY_NAME[name].suffix
    fixed = suffix.split("<", 1)[0]
    if fixed == suffix:
        return f"local {name}_key = KEYS[1] .. ':{fixed}'"
    return f"local {name}_prefix = KEYS[1] .. ':{fixed}'"


def _rows(specs: tuple[KeySpec, ...]) -> str:
    rows = (f"| `{s.suffix}` | {s.redis_type} | {s.holds} | {s.lifetime} |" for s in specs)
    return (
        "| key | type | holds | lives |\n|---|---|---|---|\n"
        + "\n".join(rows).replace("<tier>", "‹tier›")
        + "\n"
    )


def markdown() -> str:
    """The page ``docs/keys.md``."""
    return (
        "# Keys\n\n"
        "Generated from `scheduler/keys.py` by `python -m scheduler.keys`; a test keeps this page current.\n\n"
        "Work waits in streams named `<domain>:<tenant_id>:<tier>`, consumer group `workers`. An entry has two\n"
        "fields: `data`, the action's JSON, and `head`, the engine's header\n"
        "(`v1 <action_id> <deadline_ms> <action_type> <enqueued_ms> <reply_to> <unique_key>`, `-` for none). The group has two\n"
        "consumers: `running` holds what a worker owns, `parked` what waits for another attempt.\n\n"
        "Everything else of the engine lives under `nooble:<domain>:` (on a Cluster `nooble:{<domain>}:` and\n"
        "`{<domain>}:<tenant_id>:<tier>`, so that one script's keys share a slot):\n\n"
        + _rows(CATALOGUE)
        + "\nWhat all domains share lives under `nooble::`, each key in a slot of its own, never in a script:\n\n"
        + _rows(SHARED)
    )


if __name__ == "__main__":
    print(markdown(), end="")
