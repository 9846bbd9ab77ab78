"""The edge of the command line: where it enters the event loop, and where errors become a sentence and an exit code."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from reckoner.producer.cli import INTERRUPTED
from reckoner.producer.cli.output import say
from reckoner.shared.errors import ReckonerError, UsageError
from reckoner.shared.ids import require_id
from reckoner.shared.terminal import plain

if TYPE_CHECKING:
    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.shared.settings import Settings

T = TypeVar("T")

DATA_PACKAGES = {"numpy", "pandas", "pyarrow"}


def guarded(run: Callable[[], object]) -> int:
    """Call the command line; returns its exit code. What was foreseen is one sentence, and no stack trace."""
    try:
        code = run()
        sys.stdout.flush()
    except ReckonerError as error:
        say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.TyperException as error:
        say(error.format_message())
        return 2
    except (BrokenPipeError, SystemExit):
        # Whoever read our output has had enough, as `head` does; within a command typer makes an exit of that.
        _forget_output()
        return 0
    except OSError as error:
        # A file that is at fault would be named.
        if error.filename is not None or error.strerror is None:
            raise
        _forget_output()
        say(f"The output cannot be written: {error.strerror}.")
        return 1
    except Exception as error:
        sentence = _trouble(error)
        if sentence is None:
            raise
        say(sentence)
        return 1
    # typer answers what `typer.Exit` said, and 130 after Ctrl-C.
    return code if isinstance(code, int) else 0


def _forget_output() -> None:
    """Let go of what cannot be written, or Python tries it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _trouble(error: Exception) -> str | None:
    """What an error means that came from Redis in the middle of a command; None when it came from elsewhere."""
    if "redis" not in sys.modules:
        return None
    from redis.exceptions import RedisError

    from reckoner.shared.redis.connections import trouble

    return f"Redis {trouble(error)}." if isinstance(error, RedisError) else None


def connect(settings: "Settings") -> "Reckoner":
    """The client for the Redis that the settings name; enter it to connect."""
    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.shared.redis.embedded import find_redis

    url = find_redis(settings)

    return Reckoner(
        url,
        prefix=settings.prefix,
        first_look_s=settings.first_look_s,
        max_queued=settings.max_queued,
    )


def complete(work: Coroutine[Any, Any, T]) -> T:
    """The one place where the command line enters an event loop."""
    try:
        import asyncio

        return asyncio.run(work)
    finally:
        # Ctrl-C may have come before its first step; Python says of what never began that it was forgotten.
        work.close()


@contextmanager
def going_on(sentence: str) -> Iterator[None]:
    """Say after Ctrl-C what goes on all the same."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError:
        say(sentence)
        raise


@contextmanager
def stopped(sentence: str) -> Iterator[None]:
    """Say after Ctrl-C what did not happen, where no event loop runs."""
    try:
        yield
    except KeyboardInterrupt:
        say(sentence)
        raise


def without_extra(error: ModuleNotFoundError, what: str) -> Exception:
    """What to raise when something for which the extra `data` is there, `what`, does not find a module."""
    from reckoner.shared.errors import MissingExtraError

    if (error.name or "").partition(".")[0] not in DATA_PACKAGES:
        return error
    return MissingExtraError(f"{what} needs {error.name}, which is not installed: pip install 'ready-reckoner[data]'.")


def identifier(kind: str, argument: str) -> str:
    """An argument as it was given, which is the id of a `kind`.

    Raises:
        UsageError: no id can be like that.
    """
    return require_id(kind, readable(argument))


def readable(text: str) -> str:
    """An argument as it was given.

    Raises:
        UsageError: its bytes were not UTF-8, so nothing in the data is the same.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"The argument {plain(text)} is not UTF-8 text.") from error
    return text
