"""What an id may look like, so that ids can be joined into Redis keys and taken apart again.

An id never holds the separator `:`, a cluster hash tag's braces, a glob, a blank or a control character.
Therefore `<domain>:<tenant_id>:<tier>` names exactly one triple, and no tenant can reach another's keys by
its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from .errors import InvalidId, UnknownDomain, shorten

ID_MAX_LENGTH = 128
RESERVED_DOMAIN = "nooble"  # the engine's own keys begin with it

# These patterns are written in the dialect that Python's and pydantic's (Rust) expressions share.
ID_BODY = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}"
SEGMENT_BODY = r"[a-z][a-z0-9_\-]*"
ACTION_TYPE_BODY = rf"{SEGMENT_BODY}(?:\.{SEGMENT_BODY}){{1,4}}"
REDIS_KEY_BODY = r"[\x21-\x7e]{1,512}"


def _segment_other_than(word: str) -> str:
    """Every segment but this, in an expression without look-ahead: pydantic's have none."""
    letters, others = "abcdefghijklmnopqrstuvwxyz", "0123456789_-"
    ways = [f"{word}[a-z0-9_\\-]+"]
    for at, letter in enumerate(word):
        different = (letters + others if at else letters).replace(letter, "").replace("-", "\\-")
        ways.append(f"{word[:at]}[{different}][a-z0-9_\\-]*")
        if at:
            ways.append(word[:at])
    return f"(?:{'|'.join(ways)})"


USERS_ACTION_TYPE_BODY = rf"{_segment_other_than(RESERVED_DOMAIN)}(?:\.{SEGMENT_BODY}){{1,4}}"
"""An action type of a domain that is not the engine's own."""

_match_id = re.compile(ID_BODY).fullmatch
_match_domain = re.compile(SEGMENT_BODY).fullmatch
_match_action_type = re.compile(ACTION_TYPE_BODY).fullmatch
_match_redis_key = re.compile(REDIS_KEY_BODY).fullmatch
_find_bad_character = re.compile(r"[^A-Za-z0-9_.\-]").search

_ID_ADVICE = "use 1 to 128 of A-Z a-z 0-9 _ . - beginning with a letter or digit"
_ACTION_TYPE_ADVICE = "use <domain>.<verb>, two to five lower-case parts with dots, like embedding.generate"
_RESERVED_RULE = f"{RESERVED_DOMAIN} is reserved for the engine"
_DOMAIN_ADVICE = "use a lower-case letter, then a-z 0-9 _ -, like embedding"


_new_ids: list[str] = []
_AT_ONCE = 256


def new_id() -> str:
    """A new id of 128 random bits of the system's, as 32 hexadecimal digits."""
    try:
        return _new_ids.pop()  # one step, so threads never get the same
    except IndexError:
        digits = os.urandom(16 * _AT_ONCE).hex()  # asking the system for each would take longer than the rest
        _new_ids.extend([digits[at : at + 32] for at in range(32, len(digits), 32)])
        return digits[:32]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_ids.clear)  # else parent and child would give out the same


def is_id(value: object) -> bool:
    """Whether the value has the form of an id."""
    return isinstance(value, str) and _match_id(value) is not None


def check_id(field: str, value: object) -> str:
    """The value itself; InvalidId naming the field, the value, the broken rule and what to do."""
    if isinstance(value, str) and _match_id(value) is not None:
        return value
    raise InvalidId(field, value, _broken_id_rule(value), _ID_ADVICE)


def check_tenant_id(value: object) -> str:
    """A tenant's id."""
    return check_id("tenant_id", value)


def check_action_id(value: object) -> str:
    """An action's id."""
    return check_id("action_id", value)


def check_session_id(value: object) -> str:
    """A session's id."""
    return check_id("session_id", value)


def check_tier(value: object) -> str:
    """The form of a tier's name; whether such a tier exists is the policy's to say."""
    return check_id("tier", value)


def check_domain(value: object, field: str = "domain") -> str:
    """A domain's name: one segment, not the reserved one."""
    if isinstance(value, str) and _match_domain(value) is not None and len(value) <= ID_MAX_LENGTH:
        if value != RESERVED_DOMAIN:
            return value
        raise InvalidId(field, value, _RESERVED_RULE, "choose another domain")
    raise InvalidId(field, value, _broken_segment_rule(value), _DOMAIN_ADVICE)


def check_action_type(value: object, field: str = "action_type") -> str:
    """An action type: two to five segments, the first is the domain."""
    if isinstance(value, str) and len(value) <= ID_MAX_LENGTH and _match_action_type(value) is not None:
        if not is_reserved(value):
            return value
        raise InvalidId(field, value, _RESERVED_RULE, "choose another domain")
    raise InvalidId(field, value, _broken_segment_rule(value), _ACTION_TYPE_ADVICE)


def check_redis_key(field: str, value: object) -> str:
    """The name of a list that somebody listens to: visible ASCII without blanks, at most 512 characters."""
    if isinstance(value, str) and _match_redis_key(value) is not None:
        return value
    rule = "only visible ASCII without blanks, 1 to 512 characters, can name a list"
    raise InvalidId(field, value, rule, "take the name from QueueManager")


def is_reserved(action_type: str) -> bool:
    """Whether the action type lies in the engine's own domain."""
    return action_type.startswith(RESERVED_DOMAIN + ".")


def domain_of(action_type: str) -> str:
    """The domain of a (valid) action type: its first segment."""
    return action_type.partition(".")[0]


class ServiceRegistry:
    """Which domain a service's name stands for.

    Without an entry `_service` is stripped from the name. `strict_domains` lists the only domains that exist;
    any other is refused with UnknownDomain and the nearest of them.
    """

    def __init__(
        self,
        services: Mapping[str, str] | None = None,
        *,
        strict_domains: Iterable[str] | None = None,
    ) -> None:
        self._domains: dict[str, str] = {}
        self._strict = None if strict_domains is None else {check_domain(name) for name in strict_domains}
        for service, domain in (services or {}).items():
            self.register(service, domain)

    def register(self, service: str, domain: str) -> None:
        """From now on `service` stands for `domain`; a strict registry knows the domain too."""
        self._domains[check_id("service", service)] = check_domain(domain)
        if self._strict is not None:
            self._strict.add(domain)

    def domain_of_service(self, service: str) -> str:
        """The domain of a service's name."""
        domain = self._domains.get(service)
        if domain is None:
            domain = check_domain(service.removesuffix("_service") or service, "target_service")
        return self.check_known(domain)

    def domain_for(self, action_type: str, target_service: str | None = None) -> str:
        """Where an action goes: its target service's domain, else its type's first segment."""
        if target_service:
            return self.domain_of_service(target_service)
        return self.check_known(domain_of(action_type))

    def check_known(self, domain: str) -> str:
        """The domain itself; UnknownDomain when the registry is strict and does not list it."""
        if self._strict is not None and domain not in self._strict:
            raise UnknownDomain(domain, self._strict)
        return domain


DEFAULT_REGISTRY = ServiceRegistry()


def service_to_domain(target_service: str, registry: ServiceRegistry | None = None) -> str:
    """The domain of a service's name: the registry's entry, else the name without `_service`."""
    return (registry or DEFAULT_REGISTRY).domain_of_service(target_service)


def _broken_id_rule(value: object) -> str:
    if not isinstance(value, str):
        return f"an id is text, not {type(value).__name__}"
    if not value:
        return "it is empty"
    if len(value) > ID_MAX_LENGTH:
        return f"it has {len(value)} characters, more than {ID_MAX_LENGTH}"
    bad = _find_bad_character(value)
    if bad is not None:
        return f"{shorten(bad.group())} at position {bad.start()} is not allowed"
    return f"{value[0]!r} cannot be the first character"


def _broken_segment_rule(value: object) -> str:
    if not isinstance(value, str):
        return f"it is {type(value).__name__}, not text"
    if not value:
        return "it is empty"
    if len(value) > ID_MAX_LENGTH:
        return f"it has {len(value)} characters, more than {ID_MAX_LENGTH}"
    bad = re.search(r"[^a-z0-9_.\-]", value)
    if bad is not None:
        return f"{shorten(bad.group())} at position {bad.start()} is not allowed"
    return f"it has the wrong shape ({value.count('.') + 1} part(s))"
