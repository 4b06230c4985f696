"""States of a service kept in Redis as JSON of a pydantic model, apart for each environment and tenant."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import random
import re
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import redis.asyncio as redis_asyncio
from pydantic import BaseModel, ValidationError

from .context import current_tenant_id
from .errors import InvalidId, StateConflict, StateModelMismatch
from .logs import get_logger
from .settings import CommonAppSettings

StateT = TypeVar("StateT", bound=BaseModel)

MAX_UPDATE_ATTEMPTS = 32
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05

# Colons are welcome (`user_session:42`): the key comes last, so nothing after it can be mistaken.
_match_key = re.compile(r"[A-Za-z0-9_.\-:@+/=~|,;!$&'()#%]{1,512}").fullmatch

# KEYS[1] the state
# ARGV[1] SHA-1 of the value it must still have, "" = it must be absent
# ARGV[2] new value, "" = delete
# ARGV[3] milliseconds to live: 0 = for ever, -1 = as before
# REPLY   1 = done, 0 = somebody changed it meanwhile
_REPLACE = """
local now = redis.call('GET', KEYS[1])
local seen = now and redis.sha1hex(now) or ''
if seen ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif tonumber(ARGV[3]) > 0 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
elseif ARGV[3] == '-1' and now then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
"""


class RedisStateManager(Generic[StateT]):
    """Loads and saves one kind of state.

    A key becomes `<prefix>:state:<environment>:<tenant>:<key>`; the tenant is the running action's unless
    `tenant_id=` names another. With `raw=True` a key is used exactly as given: for reading what other
    programs wrote.
    """

    def __init__(
        self,
        redis_conn: redis_asyncio.Redis,
        state_model: type[StateT],
        app_settings: CommonAppSettings,
        *,
        raw: bool = False,
    ) -> None:
        self._redis = redis_conn
        self._model = state_model
        self._settings = app_settings
        self._raw = raw
        self._replace: Any = redis_conn.register_script(_REPLACE)
        self._logger = get_logger(f"{__name__}.{app_settings.service_name}")

    def redis_key(self, state_key: str, tenant_id: str | None = None) -> str:
        """The key in Redis; InvalidId for an unusable state key, MissingTenant where none is known."""
        if self._raw:
            return state_key
        if not isinstance(state_key, str) or _match_key(state_key) is None:
            raise InvalidId(
                "state_key",
                state_key,
                "blanks, braces, globs, quotes and control characters are not allowed",
                "use 1 to 512 visible ASCII characters such as user_session:42",
            )
        settings = self._settings
        tenant = current_tenant_id(tenant_id)
        return f"{settings.key_prefix}:state:{settings.environment}:{tenant}:{state_key}"

    async def load_state(self, state_key: str, *, tenant_id: str | None = None) -> StateT | None:
        """The state, None when there is none; StateModelMismatch when what is stored does not fit."""
        stored = await self._redis.get(self.redis_key(state_key, tenant_id))
        return None if stored is None else self._parse(state_key, stored)

    async def save_state(
        self,
        state_key: str,
        state_data: StateT,
        expiration_seconds: int | None = None,
        *,
        tenant_id: str | None = None,
    ) -> None:
        """Store the state, for ever or for `expiration_seconds`; TypeError for None or for another model."""
        if state_data is None:
            raise TypeError("a state of None cannot be saved; use delete_state to remove one")
        value = self._write(state_data)
        expires = _expiration_ms(expiration_seconds)
        await self._redis.set(self.redis_key(state_key, tenant_id), value, px=expires or None)

    async def delete_state(self, state_key: str, *, tenant_id: str | None = None) -> bool:
        """Remove the state; whether there was one."""
        return bool(await self._redis.delete(self.redis_key(state_key, tenant_id)))

    async def update_state(
        self,
        state_key: str,
        change: Callable[[StateT | None], StateT | Awaitable[StateT | None] | None],
        expiration_seconds: int | None = None,
        *,
        tenant_id: str | None = None,
    ) -> StateT | None:
        """Replace the state by what `change` makes of it; if somebody else changed it meanwhile, begin anew.

        `change` gets the current state or None, and may be called several times; returning None deletes the
        state. Without `expiration_seconds` the remaining life is kept. Returns what is stored now. Raises
        StateConflict after 32 attempts.
        """
        key = self.redis_key(state_key, tenant_id)
        keep = -1 if expiration_seconds is None else _expiration_ms(expiration_seconds)
        for attempt in range(MAX_UPDATE_ATTEMPTS):
            stored = await self._redis.get(key)
            current = None if stored is None else self._parse(state_key, stored)
            made = change(current)
            new = await made if inspect.isawaitable(made) else made
            value = b"" if new is None else self._write(new)
            seen = "" if stored is None else hashlib.sha1(stored, usedforsecurity=False).hexdigest()
            if await self._replace(keys=[key], args=[seen, value, keep]):
                return new
            await asyncio.sleep(_pause_s(attempt))
        self._logger.warning("the state %s was changed by others %d times", state_key, MAX_UPDATE_ATTEMPTS)
        raise StateConflict(
            f"the state {state_key!r} was changed by others during all {MAX_UPDATE_ATTEMPTS} attempts; "
            "try again later, or split what so many write into several states",
            details={"state_key": state_key},
        )

    def _write(self, state: StateT) -> bytes:
        if not isinstance(state, self._model):
            raise TypeError(f"a state of {self._model.__name__} is expected, not {type(state).__name__}")
        return state.model_dump_json().encode()

    def _parse(self, state_key: str, stored: bytes) -> StateT:
        try:
            return self._model.model_validate_json(stored)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole value"
            raise StateModelMismatch(
                f"the state {state_key!r} does not fit {self._model.__name__}: {place}: {first['msg']}; "
                "migrate it, give the new field a default, or delete the state",
                details={"state_key": state_key, "model": self._model.__name__, "field": place},
            ) from None


def _expiration_ms(seconds: float | None) -> int:
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise ValueError(f"expiration_seconds must be more than 0, not {seconds!r}; None keeps it for ever")
    return max(1, int(seconds * 1000))


def _pause_s(attempt: int) -> float:
    # Random, so that those who collided do not meet again.
    return random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt))
