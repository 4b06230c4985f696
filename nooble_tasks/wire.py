"""What actions and responses share: strict constructors, lenient reading, checked JSON, typed errors.

A constructor refuses a name it does not know, because that is a typo. Reading from the wire ignores it,
because that is a newer sender.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Strict,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from . import ids
from .errors import InvalidAction, InvalidTime, NoobleError, PayloadNotSerializable, did_you_mean, shorten
from .payload import DEFAULT_LIMITS, PayloadLimits, check_document, plain, refuse_value, too_deep

# Checked by pydantic's compiled core: reading an action costs no Python call per id.
Id = Annotated[str, StringConstraints(pattern=rf"\A{ids.ID_BODY}\z", strict=True)]
ActionType = Annotated[
    str,
    StringConstraints(
        pattern=rf"\A{ids.USERS_ACTION_TYPE_BODY}\z", max_length=ids.ID_MAX_LENGTH, strict=True
    ),
]
RedisKey = Annotated[str, StringConstraints(pattern=rf"\A{ids.REDIS_KEY_BODY}\z", strict=True)]
Moment = Annotated[AwareDatetime, Strict()]  # lax parsing would take deadline=30 for half a minute after 1970

_ACTION_TYPE_FIELDS = frozenset({"action_type", "callback_action_type"})
_REDIS_KEY_FIELDS = frozenset({"callback_queue_name"})
_TIME_FIELDS = frozenset({"deadline", "created_at"})
_ID_ERRORS = frozenset({"string_pattern_mismatch", "string_type", "string_too_long", "value_error"})


class WireModel(BaseModel):
    """Base of what travels between services."""

    model_config = ConfigDict(
        extra="ignore",
        populate_by_name=True,
        validate_assignment=True,
        cache_strings="keys",  # values, ids above all, seldom come again
        ser_json_inf_nan="constants",  # so that NaN is seen and refused, not silently turned into null
    )

    _noun: ClassVar[str] = "message"
    _error: ClassVar[type[NoobleError]] = InvalidAction
    _aliases: ClassVar[frozenset[str]] = frozenset()
    _plain_fields: ClassVar[tuple[str, ...]] = ("data", "metadata")
    _detached_fields: ClassVar[tuple[str, ...]] = ()
    """What is kept as plain JSON types, detached from the caller's objects; None is the same as nothing."""
    _names: ClassVar[frozenset[str]] = frozenset()
    """What a constructor takes."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._names = cls._aliases.union(cls.model_fields)

    if not TYPE_CHECKING:  # type checkers see the fields as parameters

        def __init__(self, **fields: Any) -> None:
            if not self._names.issuperset(fields):
                raise self._unknown_field(min(fields.keys() - self._names))
            for name in _TIME_FIELDS:
                if isinstance(fields.get(name), str):
                    fields[name] = _moment(name, fields[name])
            for name in self._detached_fields:
                if name not in fields:
                    continue
                value = fields.pop(name)
                if value is not None:
                    fields[name] = plain(value, name)
            try:
                self.__pydantic_validator__.validate_python(fields, self_instance=self)
            except ValidationError as error:
                self._refuse(error)

        # Without this mark pydantic would call __init__ for every message read from the wire as well.
        __init__.__pydantic_base_init__ = True

        def __setattr__(self, name: str, value: Any) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError as error:
                self._refuse(error)

    def model_copy(self, *, update: Any = None, deep: bool = False) -> Self:
        """A copy; unlike pydantic's own, what is updated is validated."""
        copy = super().model_copy(deep=deep)
        for name, value in (update or {}).items():
            setattr(copy, name, value)
        return copy

    def copied_with(self, update: dict[str, Any]) -> Self:
        """A copy with values that are checked already, at a fraction of what pydantic takes for it."""
        if self.__pydantic_private__ is not None:  # of a subclass of the user's
            return super().model_copy(update=update)
        cls, set_plain = type(self), object.__setattr__
        copy = cls.__new__(cls)
        values = copy.__dict__
        values.update(self.__dict__)
        values.update(update)
        set_plain(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__.union(update))
        set_plain(copy, "__pydantic_extra__", None)
        set_plain(copy, "__pydantic_private__", None)
        return copy

    def to_json(self, limits: PayloadLimits = DEFAULT_LIMITS) -> bytes:
        """The message as JSON; a typed error naming what is too large, too deep or not serialisable."""
        try:
            raw = self._serialise()
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            refuse_value(self._payload(), error)
        try:
            check_document(raw, limits, what=self._noun)
        except PayloadNotSerializable as error:
            refuse_value(self._payload(), error)
        return raw

    @classmethod
    def from_json(cls, raw: bytes | str, limits: PayloadLimits = DEFAULT_LIMITS) -> Self:
        """Read a message from the wire; unknown fields are ignored, everything else is checked."""
        if isinstance(raw, str):
            raw = raw.encode("utf-8", "surrogatepass")
        check_document(raw, limits, what=cls._noun)
        try:
            read: Self = cls.__pydantic_validator__.validate_json(raw)
        except ValidationError as error:
            cls._refuse(error, limits)
        return read

    def _serialise(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)

    def _payload(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._plain_fields}

    @classmethod
    def _unknown_field(cls, name: str) -> NoobleError:
        hint = did_you_mean(name, cls.model_fields)
        return cls._error(f"{cls.__name__} has no field {shorten(name)}{hint}", details={"field": name})

    @classmethod
    def _refuse(cls, error: ValidationError, limits: PayloadLimits = DEFAULT_LIMITS) -> NoReturn:
        """Raise the typed error for what pydantic found first."""
        found = error.errors(include_url=False)[0]
        kind, place, value = found["type"], found["loc"], found.get("input")
        if kind == "json_invalid":
            if "recursion limit" in found["msg"]:
                raise too_deep(limits, cls._noun) from None
            raise cls._error(f"the {cls._noun} is not valid JSON: {found['msg']}") from None
        field = str(place[0]) if place else cls._noun
        if kind == "no_such_attribute":
            raise cls._unknown_field(field) from None
        if kind in _ID_ERRORS and len(place) == 1:
            _refuse_id(field, value)
        if field in _TIME_FIELDS:
            _refuse_time(field, value)
        if kind == "missing":
            raise cls._error(f"{field} is missing; it is required", details={"field": field}) from None
        path = ".".join(map(str, place)) or field
        reason = found["msg"].removeprefix("Value error, ")
        raise cls._error(f"{path}: {reason}", details={"field": path, "value": shorten(value)}) from None


def _refuse_id(field: str, value: object) -> None:
    """Raise InvalidId, worded by the rule that the field's value breaks."""
    if field in _ACTION_TYPE_FIELDS:
        ids.check_action_type(value, field)
    elif field in _REDIS_KEY_FIELDS:
        ids.check_redis_key(field, value)
    else:
        ids.check_id(field, value)


def _refuse_time(field: str, value: object) -> NoReturn:
    if isinstance(value, datetime) and value.utcoffset() is None:
        what = f"{value.isoformat()} has no time zone"
    else:
        what = f"{shorten(value)} is not a moment with a time zone"
    raise InvalidTime(
        f"{field} {what}; use an aware datetime such as datetime.now(timezone.utc)", details={"field": field}
    ) from None


def _moment(field: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _refuse_time(field, text)
    return moment
