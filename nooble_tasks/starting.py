"""What comes before a worker's first turn is tried again while Redis does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from .phase import Phase

_AGAIN_S = 1.0


async def insist(step: Callable[[], Awaitable[None]], phase: Phase, logger: logging.Logger) -> bool:
    """Do it until it succeeds, or the worker is told to leave (False); not when Redis says no."""
    while not phase.leaving:
        try:
            await step()
            return True
        except (AuthenticationError, NoPermissionError):
            raise
        except (RedisError, OSError) as error:
            logger.warning("starting: %s; again in %.1f s", error, _AGAIN_S)
            await asyncio.sleep(_AGAIN_S)
    return False
