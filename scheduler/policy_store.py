"""Every policy that was ever published: its version, its text, who published it, when and why.

The store is one stream whose entry ids are the versions. Redis refuses an id that is not above the last one,
so of two publishers that replace the same version one loses, by a plain command and without a lock. Bounded:
the last ``VERSIONS_KEPT``.

**The store's newest version is the truth.** ``publish`` writes it first, then the compiled policy of each
domain (``Engine.publish_policy``, which never replaces a newer version by an older one). A publisher that
dies in between leaves domains with an older policy; every worker brings its domains up to date when it
joins, when maintenance ticks, and when a claim tells that its domain runs under an older version.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from .dry_run import DryRun, dry_run
from .emptying import move_out, move_registered, resolved
from .engine import Engine
from .errors import PolicyConflictError, PolicyError, TierInUseError, UnknownVersionError
from .occupied import occupied
from .policy_versions import PolicyVersion, Published, read_version
from .tiers import Policy

VERSIONS_KEPT = 100
OPERATIONS_KEPT = 10_000
"""As in ``scripts/lib/operations.lua``."""

MAX_TEXT_BYTES = 256 * 1024
"""Largest text of a policy: every claim reads what is compiled from it."""

_MAX_BY, _MAX_WHY = 200, 1_000
_TAKEN = "equal or smaller"  # what XADD says of an id that is not above the last one

_log = logging.getLogger(__name__)


class PolicyStore:
    """Versions of the policy, and this process's way to go by the newest of them.

    The engine begins with the policy of this process's own file, as version 0.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._own = engine.policy
        self._key = engine.keys.shared("policies")
        self._domains_key = engine.keys.shared("domains")
        self._unusable = 0  # the highest version that was asked for in vain: it is not asked for again
        self._warned = 0  # about which version the own file's difference was told

    # -- reading ----------------------------------------------------------------------------------------

    async def current(self) -> PolicyVersion | None:
        """The newest version; None while nothing was published."""
        return await self._newest("-")

    async def get(self, version: int) -> PolicyVersion:
        """One version; raises :class:`UnknownVersionError`, which names the nearest there is."""
        entries: Any = ()
        if version > 0:
            entries = await self._engine.redis.xrange(self._key, f"{version}-0", f"{version}-0")
        if not entries:
            raise UnknownVersionError(version, [each.version for each in await self.history()])
        return read_version(entries[0])

    async def history(self, most: int = VERSIONS_KEPT) -> list[PolicyVersion]:
        """The newest versions, newest first."""
        entries = await self._engine.redis.xrevrange(self._key, count=most)
        return [read_version(entry) for entry in entries]

    async def domains(self) -> list[str]:
        """Domains that a worker ever joined: those that a policy is compiled for."""
        return sorted(name.decode() for name in await self._engine.redis.smembers(self._domains_key))

    async def _newest(self, after: str) -> PolicyVersion | None:
        entries = await self._engine.redis.xrevrange(self._key, min=after, count=1)
        return read_version(entries[0]) if entries else None

    # -- publishing -------------------------------------------------------------------------------------

    async def publish(
        self,
        text: str,
        *,
        by: str,
        why: str,
        expected: int | None = None,
        force: bool = False,
        source: str = "policy",
        moves: Mapping[str, str] | None = None,
    ) -> Published:
        """Make ``text`` (TOML) the policy that every domain runs under.

        ``expected`` is the version it is meant to replace (0: none yet; None: the one in force now); when
        another is in force, :class:`PolicyConflictError`, unless ``force``. A text that cannot be used:
        :class:`PolicyError`, and the running policy stays; so for one that lacks a tier in which something
        still waits, :class:`TierInUseError`: ``moves`` says into which other tier who is there goes. The text
        of the version in force makes no new version; domains that were left behind are brought up to date.
        """
        policy = _checked(text, source)
        by, why = _said("by", by, _MAX_BY), _said("why", why, _MAX_WHY)
        while True:
            current, last = await self._last()
            version = current.version if current else 0
            if current is not None and current.text == text:
                return Published(
                    current, False, await self._put_to_work(current, policy.with_moves(current.moves))
                )
            if expected is not None and version != expected and not force:
                raise PolicyConflictError(expected, version, str(current or "none"))
            expected = version
            removed = self._without(policy, current, moves or {})
            await self._refuse_occupied(removed)
            if current is not None:
                await self._move_out({k: v for k, v in policy.moves.items() if v in current.tiers()}, by, why)
            added = await self._add(last, text, by, why, policy.moves)
            if added is not None:
                done = Published(added, True, await self._put_to_work(added, policy))
                await self._note(done)
                await self._move_out(policy.moves, by, why)
                if current is not None and removed:
                    await self._recheck(current, added, removed)
                return done

    async def rollback(
        self, version: int, *, by: str, why: str = "", expected: int | None = None, force: bool = False
    ) -> Published:
        """Publish the text of an older version as a new one; raises as ``get`` and ``publish`` do."""
        old = await self.get(version)
        why = why or f"back to version {version}"
        source = f"version {version} of the policy"
        return await self.publish(old.text, by=by, why=why, expected=expected, force=force, source=source)

    def _without(self, policy: Policy, current: PolicyVersion | None, moves: Mapping[str, str]) -> list[str]:
        """The tiers that ``policy`` lacks and that nobody is moved out of; it learns of the others."""
        old, before = (current.tiers(), current.moves) if current else ([], {})
        policy.with_moves(resolved(moves, before, old, policy.names()))
        return [name for name in dict.fromkeys([*old, *before]) if name not in {*policy.tiers, *policy.moves}]

    async def _move_out(self, moves: Mapping[str, str], by: str, why: str) -> None:
        if moves:
            await move_registered(self._engine, moves)
        for domain in await self.domains() if moves else ():
            for tier, into in moves.items():
                await move_out(self._engine, domain, tier, into, by=by, why=why)

    async def dry_run(
        self, text: str, *, source: str = "policy", moves: Mapping[str, str] | None = None
    ) -> DryRun:
        """What ``publish`` would do, and for whom. Writes nothing; raises :class:`PolicyError`."""
        policy = _checked(text, source)
        current = await self.current()
        try:
            old = current.parse() if current else None
        except PolicyError:
            old = None  # of a newer release: then all of ours is new
        self._without(policy, current, moves or {})
        version = current.version if current else 0
        return await dry_run(self._engine, await self.domains(), old, policy, version)

    async def _refuse_occupied(self, removed: Sequence[str]) -> None:
        left = await occupied(self._engine, await self.domains(), removed)
        if left:
            raise TierInUseError(left)

    async def _recheck(self, old: PolicyVersion, new: PolicyVersion, removed: Sequence[str]) -> None:
        """An action may have got into a tier after it was found empty: then the tier comes back."""
        try:
            await self._refuse_occupied(removed)
        except TierInUseError:
            why = f"undoes version {new.version}: actions got into a tier meanwhile that it lacks"
            await self.publish(old.text, by=new.by, why=why, expected=new.version)
            raise

    async def _add(
        self, version: int, text: str, by: str, why: str, moves: Mapping[str, str] | None = None
    ) -> PolicyVersion | None:
        """The next version after ``version``; None when somebody else's is there already."""
        added = PolicyVersion(version + 1, text, by, self._engine.clock.now_ms(), why, dict(moves or {}))
        fields: dict[Any, Any] = {"text": text, "by": by, "at_ms": added.at_ms, "why": why}
        if moves:
            fields["moves"] = json.dumps(added.moves)
        try:
            await self._engine.redis.xadd(
                self._key, fields, id=f"{added.version}-0", maxlen=VERSIONS_KEPT, approximate=False
            )
        except ResponseError as error:
            if _TAKEN in str(error):
                return None
            raise
        return added

    async def _last(self) -> tuple[PolicyVersion | None, int]:
        """The newest version, and the number after which the next one goes.

        Where the store is empty, it may have been lost: then numbers go on from the highest at work in any
        domain. The store is looked at again afterwards: else that could be a version which somebody else
        published meanwhile, and it would be replaced unseen.
        """
        current = await self.current()
        if current is not None:
            return current, current.version
        highest = 0
        for domain in await self.domains():
            compiled = await self._engine.redis.get(self._engine.keys.of("policy", domain))
            highest = max(highest, json.loads(compiled).get("version", 0) if compiled else 0)
        current = await self.current()
        return current, current.version if current else highest

    async def _put_to_work(self, version: PolicyVersion, policy: Policy) -> list[str]:
        """Compile it for every domain; those that run under it now."""
        if version.version > self._engine.policy_version:
            self._engine.use_policy(policy, version.version)
        domains = await self.domains()
        await self.bring_up(domains)
        return domains

    async def _note(self, done: Published) -> None:
        """Among what operators did in these domains."""
        _, _, by, at_ms, why, _ = done.version
        said: dict[Any, Any] = {
            "at": at_ms, "by": by, "why": why, "did": f"publish policy version {done.version.version}"
        }  # fmt: skip
        for domain in done.domains:
            key = self._engine.keys.of("operations", domain)
            await self._engine.redis.xadd(key, said, maxlen=OPERATIONS_KEPT)

    # -- following --------------------------------------------------------------------------------------

    async def join(self, domains: Sequence[str], *, by: str) -> None:
        """A worker of these domains begins: under the newest version; its own file is published only when
        nothing ever was. Where its file says something else, a warning tells how to publish it."""
        await self._engine.redis.sadd(self._domains_key, *domains)
        if not await self.catch_up() and not self._engine.policy_version:
            await self._begin(by)
        await self.bring_up(domains)
        self._warn_of_own_file()

    def _warn_of_own_file(self) -> None:
        version, source = self._engine.policy_version, self._own.source
        if version in (0, self._warned) or not source or not Path(source).is_file():
            return
        self._warned = version
        if not self._own.same_as(self._engine.policy):
            _log.warning(
                "%s is not the policy in force: this worker goes by version %d. See what differs: "
                "nooble policy diff %s; to make it the policy: nooble policy publish %s --why ...",
                source,
                version,
                source,
                source,
            )

    async def _begin(self, by: str) -> None:
        """The first version is this process's own policy, unless another process was faster."""
        if not self._own.text:
            return
        current, last = await self._last()
        if current is None:
            _checked(self._own.text, self._own.source)
            first = await self._add(last, self._own.text, by, "first start")
            if first is not None:
                _log.info("%s is version %d of the policy", self._own.source, first.version)
        await self.catch_up()

    async def catch_up(self) -> bool:
        """Go by the newest version; whether that is another than before. One command when it is not."""
        known = max(self._engine.policy_version, self._unusable)
        newest = await self._newest(f"({known}-0" if known else "-")
        if newest is None:
            return False
        try:
            policy = newest.parse()
        except PolicyError as error:
            self._unusable = newest.version
            _log.error(
                "%s cannot be used by this release, which goes on with the timeouts of version %d: %s",
                newest,
                self._engine.policy_version,
                error,
            )
            return False
        self._engine.use_policy(policy, newest.version)
        return True

    async def bring_up(self, domains: Iterable[str]) -> None:
        """Put the policy this process goes by to work in ``domains``, where an older one is."""
        for domain in domains:
            await self._engine.publish_policy(domain)

    async def follow(self, domain: str, version: int) -> None:
        """A claim of ``domain`` was decided under ``version``, which is not the one this process goes by:
        catch up with it, or bring the domain up to date."""
        if version > self._engine.policy_version:
            if version > self._unusable and not await self.catch_up():
                self._unusable = version
        elif version < self._engine.policy_version:
            await self._engine.publish_policy(domain)


def _checked(text: str, source: str) -> Policy:
    size = len(text.encode("utf-8"))
    if size > MAX_TEXT_BYTES:
        raise PolicyError(f"{source}: {size:,} bytes; at most {MAX_TEXT_BYTES:,}")
    return Policy.parse(text, source=source)


def _said(name: str, value: str, most: int) -> str:
    value = " ".join(value.split())
    if not value or len(value) > most or not value.isprintable():
        raise PolicyError(f"{name} must be 1 to {most} printable characters, not {value[:40]!r}")
    return value
