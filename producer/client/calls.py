"""Common to all calls of the client: argument checks, timeouts, and errors."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, get_args

from redis.exceptions import RedisError

from reckoner.producer.client.deadlines import Deadlines
from reckoner.shared.errors import ClientClosedError, UsageError, WaitTimeoutError
from reckoner.shared.ids import require_id, shown
from reckoner.shared.redis.connections import unavailable
from reckoner.shared.wire.shapes import Lane, Record

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from redis.asyncio import Redis

# The default timeout in seconds of a call that only reads or writes Redis.
ASK_S = 10.0
# The default number of places.
DEFAULT_N = 10

P = ParamSpec("P")
T = TypeVar("T")


class Connections(Protocol):
    """The connections of a client."""

    redis: "Redis"
    """The connection for commands."""
    deadlines: Deadlines

    @property
    def closed(self) -> bool:
        """Whether they are closed."""

    def require_own_loop(self) -> None:
        """Check that all calls come from one event loop."""


class Caller(Protocol):
    """An object whose calls use a client's connections."""

    @property
    def _client(self) -> Connections: ...


CallerT = TypeVar("CallerT", bound=Caller)


def translates_redis_errors(
    call: "Callable[Concatenate[CallerT, P], Awaitable[T]]",
) -> "Callable[Concatenate[CallerT, P], Coroutine[Any, Any, T]]":
    """Turn the Redis errors of a call into RedisUnavailableError, and apply its `timeout`.

    The timeout includes connecting. A call that makes another call passes it `timeout=None`, or the inner default
    would apply.
    """
    parameter = signature(call).parameters.get("timeout")
    default = parameter.default if parameter else None

    @wraps(call)
    async def translated(self: CallerT, /, *arguments: P.args, **options: P.kwargs) -> T:
        client = self._client
        client.require_own_loop()
        timeout: Any = options.get("timeout", default)
        deadline = None if timeout is None else client.deadlines.start(timeout)
        try:
            return await call(self, *arguments, **options)
        except RedisError as error:
            raise (ClientClosedError() if client.closed else unavailable(client.redis, error)) from error
        except asyncio.CancelledError as error:
            if deadline is not None and deadline.ended():
                raise WaitTimeoutError from error
            raise
        finally:
            if deadline is not None:
                client.deadlines.stop(deadline)

    return translated


def deadline_after(timeout: float | None) -> float | None:
    """The event loop's time after `timeout` seconds; None for no limit."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def time_limit(timeout: float | None) -> AbstractAsyncContextManager[None]:
    """Limit the block to `timeout` seconds; see `deadline`."""
    return deadline(deadline_after(timeout))


@asynccontextmanager
async def deadline(moment: float | None) -> AsyncIterator[None]:
    """Limit the block to a `moment` of the event loop's clock.

    Raises:
        WaitTimeoutError: the block took longer.
    """
    try:
        async with asyncio.timeout_at(moment):
            yield
    except TimeoutError as error:
        raise WaitTimeoutError from error


def require_ids(kind: str, texts: Sequence[str]) -> None:
    """Check that all texts are valid ids; see `require_id`.

    Raises:
        UsageError: one is invalid, or `texts` is a single string.
    """
    if isinstance(texts, str):
        raise UsageError(f"Expected a list of {kind}s, but got the string {shown(texts)}. Put it into a list.")
    for text in texts:
        require_id(kind, text)


def require_number(what: str, number: int, most: int) -> None:
    """Check that a number is from 1 to `most`.

    Raises:
        UsageError: it is not.
    """
    if not 1 <= number <= most:
        raise UsageError(f"{what} is {number:,}, but must be from 1 to {most:,}.")


def places_wanted(n: int | None, record: Record) -> int:
    """The number of places to read of lists: `n`, or at most ten by default.

    Raises:
        UsageError: `n` is below 1 or above the length of the lists.
    """
    length = record.options.list_length
    if n is not None and not 1 <= n <= length:
        raise UsageError(
            f"n is {n}, but must be from 1 to {length}, the length of the cached lists. For longer lists, set "
            "RECKONER_LIST_LENGTH and fit again."
        )
    return min(DEFAULT_N, length) if n is None else n


def require_lane(lane: str) -> None:
    """Check that the lane exists.

    Raises:
        UsageError: it does not.
    """
    if lane not in get_args(Lane):
        raise UsageError(f"Unknown lane {lane!a}. The lanes are {' and '.join(get_args(Lane))}.")
