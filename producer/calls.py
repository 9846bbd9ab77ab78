"""What every call of the client has in common: what it may be given, how long it may take, what it raises."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, get_args

from redis.exceptions import RedisError

from shared.errors import ClientClosedError, UsageError, WaitTimeoutError
from shared.ids import require_id, shown
from shared.redis.connections import unavailable
from shared.wire import Lane

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from arq import ArqRedis

P = ParamSpec("P")
T = TypeVar("T")


class OverRedis(Protocol):
    """Something that asks a Redis."""

    redis: "ArqRedis"

    @property
    def closed(self) -> bool:
        """Whether it does so no more."""


Caller = TypeVar("Caller", bound=OverRedis)


def told(
    call: "Callable[Concatenate[Caller, P], Awaitable[T]]",
) -> "Callable[Concatenate[Caller, P], Coroutine[Any, Any, T]]":
    """Let what Redis raises in a call become a RedisUnavailableError, whose sentence says what is the matter."""

    @wraps(call)
    async def telling(self: Caller, /, *arguments: P.args, **options: P.kwargs) -> T:
        try:
            return await call(self, *arguments, **options)
        except RedisError as error:
            raise (ClientClosedError() if self.closed else unavailable(self.redis, error)) from error

    return telling


@asynccontextmanager
async def within(timeout: float | None) -> AsyncIterator[None]:
    """Let the block take so many seconds.

    Raises:
        WaitTimeoutError: it took longer.
    """
    try:
        async with asyncio.timeout(timeout):
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


def require_lane(lane: str) -> None:
    """Make sure that there is such a lane.

    Raises:
        UsageError: there is none.
    """
    if lane not in get_args(Lane):
        raise UsageError(f"There is no lane {lane!a}: the lanes are {' and '.join(get_args(Lane))}.")
