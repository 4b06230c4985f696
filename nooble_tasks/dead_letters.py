"""Dead letters for people and programs: `client.dead_letters`.

An action that ended without a result waits here, per tenant, with its payload and its failed attempts, until
somebody puts it back in line (`redrive`) or deletes it (`discard`), or it is too old.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from redis.exceptions import RedisError

from ._engine import DeadLetter, LetterFilter, Note, OpenedLetter, SchedulerError
from ._engine import DeadLetters as EngineLetters
from .delivery_errors import UnknownLetter
from .errors import InvalidAction, QueueUnavailable, shorten
from .ids import check_domain, check_tenant_id
from .times import aware, delay_seconds

if TYPE_CHECKING:
    from .bus import Bus

_EXAMPLES = 5
_MOST_PER_S = 1_000_000.0

_WHY_NOT = {
    "gone": "somebody else took it",
    "broken": "there is no action in it",
    "alive": "an action of that id is alive",
    "unique": "another action holds its unique key",
    "drain": "its tenant is drained and takes no new work",
    "key": "somebody else's key stands where its stream should be",
}


class LetterQuery(TypedDict, total=False):
    """Which letters: all that fit every given part.

    `action_type` may end in `*`. `reason` is found anywhere in the letter's, whatever the case. `since` and
    `until` are when the action died: an aware datetime, or how long ago (seconds or timedelta).
    """

    tenant_id: str | None
    action_type: str | None
    reason: str | None
    since: datetime | timedelta | float | None
    until: datetime | timedelta | float | None


Letters = list[DeadLetter]


class LetterReport(NamedTuple):
    """What became of the letters meant: `matched`, of which `done`, and why not the `refused` others."""

    matched: int
    done: int
    refused: dict[str, int]
    examples: list[str]


Progress = Callable[[LetterReport], None]


class DeadLetters:
    """The dead letters of all domains. Every method raises QueueUnavailable when Redis does not answer.

    `ids` are action ids or letter ids. A letter moves in one atomic step: a call that is cut off anywhere, or
    made twice at once, loses nothing and doubles nothing.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._letters = EngineLetters(bus.engine)

    async def count(self, domain: str) -> dict[str, int]:
        """How many dead letters each tenant of a domain has."""
        check_domain(domain)
        async with self._asking():
            return await self._letters.tenants(domain)

    async def list(
        self, domain: str, *, limit: int = 100, newest_first: bool = True, **query: Unpack[LetterQuery]
    ) -> Letters:
        """Up to `limit` letters, without their payloads."""
        found: Letters = []
        async with aclosing(self._pages(domain, (), query, newest_first=newest_first)) as pages:
            async for page in pages:
                found += page
                if len(found) >= limit:
                    break
        return found[:limit]

    async def show(self, domain: str, letter: str, *, tenant_id: str | None = None) -> OpenedLetter:
        """One letter with its payload and its attempts, by action id or letter id; the newest of several.

        Raises UnknownLetter.
        """
        async with aclosing(self._pages(domain, (letter,), {"tenant_id": tenant_id})) as pages:
            async for page in pages:
                async with self._asking():
                    opened = await self._letters.open(domain, page[0].tenant_id, page[0].letter_id)
                if opened is not None:
                    return opened
        of = f" of tenant {tenant_id}" if tenant_id else ""
        raise UnknownLetter(
            f"{domain} has no dead letter {shorten(letter)}{of}; `nooble dead list {domain}` shows them",
            details={"letter": letter},
        )

    async def redrive(
        self,
        domain: str,
        *ids: str,
        everything: bool = False,
        rate_per_s: float | None = None,
        dry_run: bool = False,
        by: str | None = None,
        why: str = "",
        on_progress: Progress | None = None,
        **query: Unpack[LetterQuery],
    ) -> LetterReport:
        """Put letters back in line, the oldest first; each keeps its id and gets all its attempts anew.

        `rate_per_s` spreads them: their due times lie 1 / `rate_per_s` seconds apart, and they start in that
        order as their tenants' limits allow. Nothing given means nothing, unless `everything`. `dry_run` says
        only how many are meant. `by` (default: this service) and `why` are kept with the operators' commands.
        Raises InvalidAction.
        """
        _say_which(ids, query, everything)
        if rate_per_s is not None and not 0 < rate_per_s <= _MOST_PER_S:
            raise InvalidAction(f"rate_per_s must be more than 0, at most {_MOST_PER_S:g}, not {rate_per_s}")
        start_ms = self._bus.clock.now_ms()

        async def some(letters: Letters, done: int) -> tuple[int, dict[str, int]]:
            due_ms = start_ms + int(done * 1000 / rate_per_s) if rate_per_s else 0
            said = await self._letters.redrive(
                domain,
                letters,
                first_due_ms=due_ms,
                rate_per_s=rate_per_s or 0.0,
                note=None if done else self._note("redrive", ids, query, by, why),
            )
            refused: dict[str, int] = {}
            for _, said_why in said.refused:
                kind = said_why.partition(" ")[0]
                refused[_WHY_NOT.get(kind, kind)] = refused.get(_WHY_NOT.get(kind, kind), 0) + 1
            return said.redriven, refused

        return await self._each(domain, ids, query, None if dry_run else some, on_progress)

    async def discard(
        self,
        domain: str,
        *ids: str,
        everything: bool = False,
        dry_run: bool = False,
        by: str | None = None,
        why: str = "",
        on_progress: Progress | None = None,
        **query: Unpack[LetterQuery],
    ) -> LetterReport:
        """Delete letters for good. Nothing given means nothing, unless `everything`.

        `dry_run`, `by` and `why` as for `redrive`. Raises InvalidAction.
        """
        _say_which(ids, query, everything)

        async def some(letters: Letters, done: int) -> tuple[int, dict[str, int]]:
            note = None if done else self._note("discard", ids, query, by, why)
            went = await self._letters.discard(domain, letters, note=note)
            gone = len(letters) - went
            return went, {_WHY_NOT["gone"]: gone} if gone else {}

        return await self._each(domain, ids, query, None if dry_run else some, on_progress)

    def _note(self, verb: str, ids: Collection[str], query: LetterQuery, by: str | None, why: str) -> Note:
        which = [f"{name}={value}" for name, value in query.items() if value]
        which += [f"{len(ids):,} ids" if len(ids) > 1 else each for each in list(ids)[:1]]
        did = f"{verb} dead letters: {', '.join(which) or 'everything'}"
        return Note(by or self._bus.settings.service_name, why, did)

    async def _each(
        self,
        domain: str,
        ids: Collection[str],
        query: LetterQuery,
        act: Callable[[Letters, int], Awaitable[tuple[int, dict[str, int]]]] | None,
        on_progress: Progress | None,
    ) -> LetterReport:
        report = LetterReport(0, 0, {}, [])
        async with aclosing(self._pages(domain, ids, query, newest_first=False)) as pages:
            async for page in pages:
                done, refused = 0, dict[str, int]()
                if act is not None:
                    async with self._asking():
                        done, refused = await act(page, report.done)
                for why, many in refused.items():
                    report.refused[why] = report.refused.get(why, 0) + many
                known = [letter.action_id or letter.letter_id for letter in page]
                report.examples.extend(known[: _EXAMPLES - len(report.examples)])
                report = report._replace(matched=report.matched + len(page), done=report.done + done)
                if on_progress is not None:
                    on_progress(report)
        return report

    async def _pages(
        self, domain: str, ids: Collection[str], query: LetterQuery, *, newest_first: bool = True
    ) -> AsyncGenerator[Letters]:
        check_domain(domain)
        which, wanted = self._filter(ids, query), set(ids)
        async with self._asking():
            async for page in self._letters.pages(domain, which, newest_first=newest_first):
                meant = [each for each in page if not wanted or wanted & {each.action_id, each.letter_id}]
                if meant:
                    yield meant

    def _filter(self, ids: Collection[str], query: LetterQuery) -> LetterFilter:
        unknown = set(query) - set(LetterQuery.__annotations__)
        if unknown:
            raise TypeError(f"dead letters are not chosen by {', '.join(sorted(unknown))}")
        tenant_id = query.get("tenant_id")
        if tenant_id:
            check_tenant_id(tenant_id)
        return LetterFilter(
            tenant_id or "",
            "",
            query.get("action_type") or "",
            query.get("reason") or "",
            self._moment_ms(query.get("since"), "since"),
            self._moment_ms(query.get("until"), "until"),
        )

    def _moment_ms(self, moment: datetime | timedelta | float | None, field: str) -> int:
        if moment is None:
            return 0
        if isinstance(moment, datetime):
            return int(aware(moment, field).timestamp() * 1000)
        return self._bus.clock.now_ms() - int(delay_seconds(moment, field) * 1000)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            await self._bus.ready()
            yield
        except (RedisError, OSError, SchedulerError) as error:
            reason = str(error) or type(error).__name__
            raise QueueUnavailable(
                f"Redis cannot be asked now: {reason}; what was done stays done, try again when it answers"
            ) from error


def _say_which(ids: Collection[str], query: LetterQuery, everything: bool) -> None:
    if not ids and not any(query.values()) and not everything:
        raise InvalidAction(
            "say which dead letters are meant: ids, tenant_id, action_type, reason, since, until, or "
            "everything=True"
        )
