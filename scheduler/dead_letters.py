"""Dead letters: actions that ended without a result and are kept, per tenant, until somebody decides.

``redrive`` puts one back in line, ``discard`` deletes it, ``prune`` deletes what is too old or too many. Each
letter moves in one script step: a caller that stops anywhere, or two at once, lose and double nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from . import scripts
from .attempts import AttemptError, read_attempts
from .batches import MAX_CALL_BYTES
from .engine import Engine

PAGE = 250
"""Letters looked at per call."""

REDRIVE_ITEMS = 100
"""Letters redriven or discarded per call."""

TENANTS_PRUNED = 100
"""Tenants looked at by one ``prune``."""

_LETTER_ID = re.compile(r"\d{1,20}-\d{1,20}").fullmatch


class DeadLetter(NamedTuple):
    """A dead letter without its payload (``size`` bytes). ``action_id`` is empty when no action is in it."""

    tenant_id: str
    letter_id: str
    tier: str
    died_ms: int
    reason: str
    attempt: int
    size: int
    action_id: str = ""
    action_type: str = ""
    enqueued_ms: int = 0
    deadline_ms: int = 0


class OpenedLetter(NamedTuple):
    """A dead letter with its payload and its last attempts, the oldest first."""

    letter: DeadLetter
    payload: bytes
    attempts: list[AttemptError]


class LetterFilter(NamedTuple):
    """Which dead letters are meant; what is empty or 0 excludes nothing.

    ``action_type`` may end in ``*``; ``reason`` is found anywhere in the letter's, whatever the case;
    times are when it died, in epoch ms.
    """

    tenant_id: str = ""
    action_id: str = ""
    action_type: str = ""
    reason: str = ""
    since_ms: int = 0
    until_ms: int = 0


class Redriven(NamedTuple):
    """What became of a batch: how many are back in line, and for the others (letter, why not)."""

    redriven: int
    refused: list[tuple[DeadLetter, str]]


class Note(NamedTuple):
    """What is kept of an operator's command: who gave it, why, and what it did."""

    by: str
    why: str
    did: str


class DeadLetters:
    """The dead letters of the domains of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def tenants(self, domain: str) -> dict[str, int]:
        """How many dead letters each tenant has, by name."""
        keys, redis = self._engine.keys, self._engine.redis
        names = sorted(name.decode() for name in await redis.zrange(keys.of("dead_tenants", domain), 0, -1))
        pipeline = redis.pipeline(transaction=False)
        for name in names:
            pipeline.xlen(keys.of("dead", domain, name))
        counts = await pipeline.execute() if names else []
        return {name: count for name, count in zip(names, counts, strict=True) if count}

    async def pages(
        self, domain: str, which: LetterFilter, *, newest_first: bool = True
    ) -> AsyncIterator[list[DeadLetter]]:
        """The letters that fit, a page at a time, tenant after tenant.

        Letters that come while it goes on are left out, so it ends.
        """
        tenants = [which.tenant_id] if which.tenant_id else list(await self.tenants(domain))
        for tenant in tenants:
            key = self._engine.keys.of("dead", domain, tenant)
            newest = await self._engine.redis.xrevrange(key, count=1)
            cursor = ""
            while newest:
                cursor, letters = await self._page(
                    domain, tenant, which, cursor, newest[0][0].decode(), newest_first=newest_first
                )
                if letters:
                    yield letters
                if not cursor:
                    break

    async def open(self, domain: str, tenant_id: str, letter_id: str) -> OpenedLetter | None:
        """One letter with everything in it; None when it is not there (any more)."""
        if not _LETTER_ID(letter_id):
            return None
        key = self._engine.keys.of("dead", domain, tenant_id)
        found = await self._engine.redis.xrange(key, letter_id, letter_id)
        if not found:
            return None
        fields = {name.decode(): value for name, value in found[0][1].items()}
        payload = fields.get("data", b"")
        tier, at, reason, attempt, head = (
            fields.get(name, b"") for name in ("tier", "at", "reason", "attempt", "head")
        )
        letter = _letter(tenant_id, letter_id.encode(), tier, at, reason, attempt, head, len(payload))
        return OpenedLetter(letter, payload, read_attempts(fields.get("attempts", b"")))

    async def redrive(
        self,
        domain: str,
        letters: Sequence[DeadLetter],
        *,
        first_due_ms: int = 0,
        rate_per_s: float = 0.0,
        note: Note | None = None,
    ) -> Redriven:
        """Put letters of any tenants back in line, at once or one every 1 / ``rate_per_s`` seconds.

        Each keeps its id and gets all its attempts anew; what waited for its answer is answered by it.
        ``note`` is kept once, when the first goes.
        """
        redriven, refused = 0, []
        start_ms = max(first_due_ms, self._engine.clock.now_ms())
        for batch in _batches(letters):
            due_ms = start_ms + int(redriven * 1000 / rate_per_s) if rate_per_s else start_ms
            said = await self._run(
                "redrive",
                domain,
                self._engine.clock.now_ms(),
                *_noted(None if redriven else note),
                batch[0].tenant_id,
                due_ms,
                int(1_000_000 / rate_per_s) if rate_per_s else 0,
                *(letter.letter_id for letter in batch),
            )
            for letter, reply in zip(batch, said, strict=True):
                if reply == b"redriven":
                    redriven += 1
                else:
                    refused.append((letter, reply.decode()))
        return Redriven(redriven, refused)

    async def discard(self, domain: str, letters: Sequence[DeadLetter], *, note: Note | None = None) -> int:
        """Delete letters for good; how many were still there. ``note`` is kept once, when the first goes."""
        discarded = 0
        for batch in _batches(letters):
            ids = [letter.letter_id for letter in batch]
            said = [self._engine.clock.now_ms(), *_noted(None if discarded else note)]
            discarded += await self._run("discard", domain, *said, batch[0].tenant_id, *ids)
        return discarded

    async def prune(self, domain: str, *, keep: int, keep_ms: int, most: int = PAGE) -> int:
        """Delete letters older than ``keep_ms`` and all but the newest ``keep`` per tenant.

        Bounded: at most ``most`` of each of ``TENANTS_PRUNED`` tenants taken at random. How many went.
        """
        engine, script, gone = self._engine, scripts.load("prune"), 0
        before_ms = engine.clock.now_ms() - keep_ms
        tenants = await engine.redis.zrandmember(engine.keys.of("dead_tenants", domain), TENANTS_PRUNED)
        root = engine.keys.root(domain)
        if tenants:
            calls = [(script, root, [name, before_ms, keep, most]) for name in tenants]
            gone = sum(await scripts.run_together(engine.redis, calls))
        return gone

    async def _page(
        self, domain: str, tenant: str, which: LetterFilter, cursor: str, last: str, *, newest_first: bool
    ) -> tuple[str, list[DeadLetter]]:
        reply = await self._run(
            "letters",
            domain,
            tenant,
            "newest" if newest_first else "oldest",
            cursor,
            last,
            PAGE,
            which.action_id,
            which.action_type,
            which.reason.lower(),
            which.since_ms,
            which.until_ms or 2**53,
        )
        letters = [_letter(tenant, *reply[at : at + 7]) for at in range(1, len(reply), 7)]
        return reply[0].decode(), letters

    async def _run(self, verb: str, domain: str, *args: Any) -> Any:
        engine = self._engine
        return await scripts.run(engine.redis, scripts.load(verb), engine.keys.root(domain), args)


def _noted(note: Note | None) -> tuple[str, str, str]:
    return (note.by, note.why, note.did) if note else ("", "", "")


def _letter(
    tenant: str,
    letter_id: bytes,
    tier: bytes,
    at: bytes,
    reason: bytes,
    attempt: bytes,
    head: bytes,
    size: int,
) -> DeadLetter:
    letter = DeadLetter(
        tenant,
        letter_id.decode(),
        tier.decode(),
        int(at),
        reason.decode("utf-8", "replace"),
        int(attempt),
        size,
    )
    parts = head.decode("utf-8", "replace").split(" ")
    if len(parts) != 7:
        return letter
    return letter._replace(
        action_id=parts[1], deadline_ms=int(parts[2]), action_type=parts[3], enqueued_ms=int(parts[4])
    )


def _batches(letters: Sequence[DeadLetter]) -> list[list[DeadLetter]]:
    """Letters of one tenant each, as many as one script call should carry."""
    batches: list[list[DeadLetter]] = []
    size = 0
    for letter in letters:
        fits = batches and batches[-1][0].tenant_id == letter.tenant_id and len(batches[-1]) < REDRIVE_ITEMS
        if not fits or size + letter.size > MAX_CALL_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(letter)
        size += letter.size
    return batches
