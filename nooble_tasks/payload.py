"""Size, depth and content of what travels, checked before it is written and before it is believed."""

from __future__ import annotations

import dataclasses
import math
import re
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeGuard

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .errors import InvalidAction, NoobleError, PayloadNotSerializable, PayloadTooDeep, PayloadTooLarge

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_MAX_BYTES = 1_048_576
DEFAULT_MAX_DEPTH = 64
HARD_MAX_DEPTH = 128  # the JSON parser itself gives up at 200
MAX_DIGITS = 4_300  # what Python and the parser read by default

_strings = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_not_finite = re.compile(rb"NaN|Infinity")
_brackets = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as signed bytes
_all_but_brackets = bytes(byte for byte in range(256) if byte not in b"[]{}")
_BRACE, _BRACKET, _N, _I = b"{[NI"
_SHORT = 2_000
_SAMPLE_EVERY = 43
_sampled_digits = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS // _SAMPLE_EVERY - 1))
_huge_number = re.compile(rb"(?<![0-9])[0-9]{%d}" % (MAX_DIGITS + 1))
_plain_key = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


class PayloadLimits(NamedTuple):
    """What a message may weigh: bytes of its whole JSON, and levels of containers in one field's value."""

    max_bytes: int = DEFAULT_MAX_BYTES
    max_depth: int = DEFAULT_MAX_DEPTH


DEFAULT_LIMITS = PayloadLimits()


def plain(value: Any, path: str = "data") -> Any:
    """The value as JSON types, detached from the caller's objects; a typed error for what JSON cannot carry.

    Models, dataclasses, datetimes, UUIDs, decimals, enums and sets become what pydantic writes for them.
    """
    try:
        return to_jsonable_python(value, inf_nan_mode="constants", by_alias=True)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        refuse_value({path: value}, error)


def check_document(raw: bytes, limits: PayloadLimits = DEFAULT_LIMITS, *, what: str = "action") -> None:
    """Size, depth and numbers of a JSON document whose top level is the envelope, without parsing it."""
    size = len(raw)
    if size > limits.max_bytes:
        raise PayloadTooLarge(
            f"the {what} has {size:,} bytes, more than {limits.max_bytes:,}; "
            "send a reference to the data, or raise payload_max_bytes",
            details={"bytes": size, "max_bytes": limits.max_bytes},
        )
    # So few brackets cannot nest too deeply, wherever they are: the usual message is settled by that.
    most = limits.max_depth + 1
    many = _more_brackets(raw, most) if size > _SHORT else _brackets_of(raw) > most
    if many and _depth(raw) > most:
        raise too_deep(limits, what)
    if size > MAX_DIGITS and _has_huge_number(raw):
        raise PayloadNotSerializable(
            f"the {what} holds a number of more than {MAX_DIGITS:,} digits; send it as text"
        )
    # One byte is searched ten times faster than a word, and most messages have neither capital.
    if (_N in raw or _I in raw) and _not_finite.search(raw) and _not_finite.search(_strings.sub(b"", raw)):
        raise PayloadNotSerializable(f"the {what} holds NaN or Infinity, which JSON does not have; use null")


def surely_fits(raw: bytes, value: bytes, limits: PayloadLimits = DEFAULT_LIMITS) -> bool:
    """Whether a look at the only free part of a document, the JSON of one value, shows that `check_document`
    finds nothing: it is too short to nest too deeply, and has no capital that those words begin with.
    """
    short = len(value) <= 2 * limits.max_depth and len(value) <= MAX_DIGITS
    return short and len(raw) <= limits.max_bytes and _N not in value and _I not in value


def too_deep(limits: PayloadLimits, what: str, path: str = "") -> PayloadTooDeep:
    """The error for nesting beyond the limit."""
    where = f" at {path}" if path else ""
    return PayloadTooDeep(
        f"the {what} is nested more than {limits.max_depth} levels deep{where}; "
        "flatten it, look for a value that contains itself, or raise payload_max_depth",
        details={"max_depth": limits.max_depth},
    )


def refuse_value(fields: Mapping[str, Any], cause: BaseException) -> NoReturn:
    """Raise the typed error for fields that could not be written, naming the place of the first culprit."""
    for path, value, depth in _walk(fields):
        if depth > HARD_MAX_DEPTH:
            raise too_deep(PayloadLimits(max_depth=HARD_MAX_DEPTH), "action", _cut(path)) from None
        problem = _problem(value)
        if problem:
            raise PayloadNotSerializable(
                f"{_cut(path)} {problem}; send JSON types, or a pydantic model that knows how to write it",
                details={"path": _cut(path), "type": type(value).__name__},
            ) from None
    for path, value, _ in reversed(list(_walk(fields))):  # whose own serialiser fails, innermost first
        if isinstance(value, BaseModel) or _is_dataclass(value):
            try:
                to_jsonable_python(value)
            except Exception as error:  # whatever its serialiser raises
                raise PayloadNotSerializable(
                    f"{_cut(path)} is a {_type_name(value)}, which fails to write itself: {error!s:.300}",
                    details={"path": _cut(path), "type": type(value).__name__},
                ) from None
    raise InvalidAction(f"the action cannot be written as JSON: {cause}") from None


def of_result(error: NoobleError) -> NoobleError:
    """The same error, told of what a handler returned instead of what it was sent."""
    if not isinstance(error, PayloadNotSerializable) or "path" not in error.details:
        return error
    path = str(error.details["path"])
    place = "result" + path.removeprefix("data")
    message = error.message.replace(path, place, 1)
    return PayloadNotSerializable(message, details={**error.details, "path": place})


def _brackets_of(raw: bytes) -> int:
    """Of a short text: taking them out finds them as memory is searched, `count` looks at each byte."""
    braces = len(raw) - len(raw.replace(b"{", b""))
    return braces + len(raw) - len(raw.replace(b"[", b"")) if _BRACKET in raw else braces


def _more_brackets(raw: bytes, most: int) -> bool:
    """Of a long text: where there are few, finding the next one is many times faster than counting."""
    for bracket in (_BRACE, _BRACKET):
        at = raw.find(bracket)
        while at >= 0:
            most -= 1
            if most < 0:
                return True
            at = raw.find(bracket, at + 1)
    return False


def _depth(raw: bytes) -> int:
    """How deep the brackets nest, in one pass without recursion.

    Strings are cut out, then everything but brackets; what is left is a row of +1 and -1 whose highest
    running sum is the depth. An unbalanced document gives some number: the parser will refuse it.
    """
    steps = array("b", _strings.sub(b"", raw).translate(_brackets, _all_but_brackets))
    return max(accumulate(steps), default=0)


def _has_huge_number(raw: bytes) -> bool:
    # So long a number covers many samples in a row; only then is the whole text searched.
    if not _sampled_digits.search(raw[::_SAMPLE_EVERY]):
        return False
    return _huge_number.search(_strings.sub(b"", raw)) is not None


def _walk(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any, int]]:
    """Every value below the fields with its path and depth, in document order, without recursion."""
    stack: list[tuple[str, Any, int]] = [(name, value, 1) for name, value in reversed(list(fields.items()))]
    while stack:
        path, value, depth = stack.pop()
        yield path, value, depth
        stack.extend(reversed([(step, child, depth + 1) for step, child in _children(path, value)]))


def _children(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        return [(f"{path}.{name}", child) for name, child in value.__dict__.items()]
    if isinstance(value, dict):
        return [(path + _step(key), child) for key, child in value.items()]
    if _is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return [(f"{path}.{name}", getattr(value, name)) for name in names if hasattr(value, name)]
    if isinstance(value, list | tuple | deque):
        return [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [(f"{path}{{…}}", child) for child in value]
    return []


def _step(key: object) -> str:
    if isinstance(key, str) and _plain_key(key):
        return f".{key}"
    return f"[{key!r:.60}]" if isinstance(key, str | int) else f"[{type(key).__name__}]"


def _cut(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:120]}…{path[-60:]}"


def _problem(value: Any) -> str:
    """Why this one value, its children aside, cannot be written; empty when it can."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is {value}, which JSON does not have"
    if isinstance(value, int):
        # 0.30103 = log10(2): digits from bits, exact enough and without writing them out
        return "has too many digits for a number" if value.bit_length() * 0.30103 > MAX_DIGITS else ""
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, dict):
        return next((f"has a key that {text}" for text in map(_key_problem, value) if text), "")
    if isinstance(value, BaseModel | list | tuple | set | frozenset | deque) or _is_dataclass(value):
        return ""
    try:
        to_jsonable_python(value)
    except Exception:  # whatever its serialiser raises, it cannot be written
        return f"is a {_type_name(value)}, which JSON cannot carry"
    return ""


def _is_dataclass(value: object) -> TypeGuard[DataclassInstance]:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _key_problem(key: object) -> str:
    if isinstance(key, str):
        return _text_problem(key)
    return _problem(key)


def _text_problem(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate at position {error.start}"
    return ""
