"""Findings, and how to run checks so that each gives exactly one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.connections import is_transient_redis_error, trouble

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """The result of one check; `message` says what is ok, how to fix what is wrong, or why it is unknown."""

    check: str
    state: Literal["ok", "wrong", "unknown"]
    message: str


class CheckError(Exception):
    """A check found something wrong; the message says how to fix it."""


class NotCheckedError(Exception):
    """A check could not be made."""


DAY_MS = 86_400_000
# Older data and lists have missed a night.
OLD_MS = 1.5 * DAY_MS
# A source that has not changed for so long is not being written any more.
QUIET_MS = 7 * DAY_MS

# A check returns the message for `ok`.
Check = Callable[[T], Awaitable[str]]


def format_age(ms: float) -> str:
    """An age or a remaining time for people, in minutes, hours or days."""
    hours = ms / 3_600_000
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:,.1f} d"


async def findings(checks: Mapping[str, Check[T]], subject: T) -> AsyncIterator[Finding]:
    """Run the checks in turn; an error in one does not stop the others."""
    for name, check in checks.items():
        try:
            yield Finding(name, "ok", await check(subject))
        except Exception as error:
            yield from_error(name, error)


def finding(name: str, check: Callable[[], str]) -> Finding:
    """Run one check that does not wait for Redis."""
    try:
        return Finding(name, "ok", check())
    except Exception as error:
        return from_error(name, error)


def from_error(name: str, error: Exception) -> Finding:
    """The finding for an error of a check, unexpected errors included."""
    match error:
        case CheckError() | ReckonerError():
            return Finding(name, "wrong", str(error))
        case NotCheckedError():
            return Finding(name, "unknown", str(error))
        case NoPermissionError():
            return Finding(name, "unknown", "Not checked: the server does not allow it to this user.")
        case RedisError():
            return Finding(name, "wrong", redis_message(error))
        case OSError():
            return Finding(name, "wrong", f"Cannot be read: {error.strerror or type(error).__name__}.")
        case _:
            return Finding(name, "unknown", f"Not checked: the check failed with {type(error).__name__}.")


def redis_message(error: RedisError) -> str:
    """The reason for an error of Redis, without its own text, which may contain arguments."""
    if is_transient_redis_error(error):
        return f"Redis {trouble(error)}."
    word = str(error).partition(" ")[0] if isinstance(error, ResponseError) else type(error).__name__
    if word == "WRONGTYPE":
        return "A key in Redis has an unexpected type."
    return f"Redis refused a command ({word})."
