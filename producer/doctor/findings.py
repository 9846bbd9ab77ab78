"""What a check finds, and how checks are run so that each gives one line whatever happens."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.connections import is_transient_redis_error, trouble

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One line: what is well, or what is wrong and what to do, or what could not be looked at and why."""

    check: str
    state: Literal["ok", "wrong", "unknown"]
    told: str


class WrongError(Exception):
    """What a check raises whose subject is not as it should be; its message says what to do."""


class NotSeenError(Exception):
    """What a check raises that could not look."""


# A check returns what is well.
Check = Callable[[T], Awaitable[str]]


async def findings(checks: Mapping[str, Check[T]], subject: T) -> AsyncIterator[Finding]:
    """What each check finds in turn; one that fails keeps no other from its look."""
    for name, check in checks.items():
        try:
            yield Finding(name, "ok", await check(subject))
        except Exception as error:
            yield judge(name, error)


def finding(name: str, check: Callable[[], str]) -> Finding:
    """What one check finds that does not wait for Redis."""
    try:
        return Finding(name, "ok", check())
    except Exception as error:
        return judge(name, error)


def judge(name: str, error: Exception) -> Finding:
    """What an error of a check means; one that nobody foresaw must not keep the other checks from their look."""
    match error:
        case WrongError() | ReckonerError():
            return Finding(name, "wrong", str(error))
        case NotSeenError():
            return Finding(name, "unknown", str(error))
        case NoPermissionError():
            return Finding(name, "unknown", "Not looked at: the server does not let this user look.")
        case RedisError():
            return Finding(name, "wrong", refused(error))
        case OSError():
            return Finding(name, "wrong", f"It cannot be looked at: {error.strerror or type(error).__name__}.")
        case _:
            return Finding(name, "unknown", f"Not looked at: the look ended in a {type(error).__name__}.")


def refused(error: RedisError) -> str:
    """Say why Redis did not do what it was asked; never in its own words, which may hold what was asked."""
    if is_transient_redis_error(error):
        return f"Redis {trouble(error)}."
    word = str(error).partition(" ")[0] if isinstance(error, ResponseError) else type(error).__name__
    if word == "WRONGTYPE":
        return "A key in Redis holds another type than ours do."
    return f"Redis refuses this ({word})."
