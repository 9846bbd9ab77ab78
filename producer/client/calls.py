"""What every call of the client has in common: what it may be given, how long it may take, what it raises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast, get_args

from redis.exceptions import RedisError

from reckoner.shared.errors import ClientClosedError, UsageError, WaitTimeoutError
from reckoner.shared.ids import require_id, shown
from reckoner.shared.redis.connections import unavailable
from reckoner.shared.wire.shapes import Lane

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from arq import ArqRedis

# The default timeout of a call that only asks Redis, in seconds.
ASK_S = 10.0

P = ParamSpec("P")
T = TypeVar("T")


class OverRedis(Protocol):
    """Something that asks a Redis."""

    @property
    def redis(self) -> "ArqRedis":
        """The connection that asks."""

    @property
    def closed(self) -> bool:
        """Whether it does so no more."""

    def require_own_loop(self) -> None:
        """Make sure that all calls come from one event loop."""


Caller = TypeVar("Caller", bound=OverRedis)


def translates_redis_errors(
    call: "Callable[Concatenate[Caller, P], Awaitable[T]]",
) -> "Callable[Concatenate[Caller, P], Coroutine[Any, Any, T]]":
    """Turn the Redis errors of a call into a RedisUnavailableError with a sentence.

    A call ends within its `timeout`, connecting included. A call that makes another one passes `timeout=None` on, so
    that the default of the other one does not apply.
    """
    named = signature(call).parameters.get("timeout")
    usual = named.default if named else None

    @wraps(call)
    async def telling(self: Caller, /, *arguments: P.args, **options: P.kwargs) -> T:
        self.require_own_loop()
        try:
            async with within(cast("float | None", options.get("timeout", usual))):
                return await call(self, *arguments, **options)
        except RedisError as error:
            raise (ClientClosedError() if self.closed else unavailable(self.redis, error)) from error

    return telling


def moment_after(timeout: float | None) -> float | None:
    """The moment of the event loop's clock after so many seconds; None for never."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def within(timeout: float | None) -> AbstractAsyncContextManager[None]:
    """Let the block take so many seconds; see `until`."""
    return until(moment_after(timeout))


@asynccontextmanager
async def until(moment: float | None) -> AsyncIterator[None]:
    """Let the block last until a moment.

    Raises:
        WaitTimeoutError: it lasted longer.
    """
    try:
        async with asyncio.timeout_at(moment):
            yield
    except TimeoutError as error:
        raise WaitTimeoutError from error


def require_ids(kind: str, texts: Sequence[str]) -> None:
    """Make sure that these can be ids; see `require_id`.

    Raises:
        UsageError: one of them cannot be, or it is one text and not several, and would be taken letter by letter.
    """
    if isinstance(texts, str):
        raise UsageError(f"Several {kind}s are needed here, and {shown(texts)} is one text: put it into a list.")
    for text in texts:
        require_id(kind, text)


def require_number(what: str, number: int, most: int) -> None:
    """Make sure that a number is from 1 to `most`.

    Raises:
        UsageError: it is not.
    """
    if not 1 <= number <= most:
        raise UsageError(f"{what} is {number:,}, and has to be from 1 to {most:,}.")


def require_lane(lane: str) -> None:
    """Make sure that there is such a lane.

    Raises:
        UsageError: there is none.
    """
    if lane not in get_args(Lane):
        raise UsageError(f"There is no lane {lane!a}: the lanes are {' and '.join(get_args(Lane))}.")
