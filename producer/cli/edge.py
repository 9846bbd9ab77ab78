"""The edge of the command line: enters the event loop, and turns errors into a sentence and an exit code."""

import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from reckoner.producer.cli import INTERRUPTED
from reckoner.producer.cli.output import say
from reckoner.shared.errors import ReckonerError, UsageError
from reckoner.shared.ids import require_id
from reckoner.shared.terminal import plain

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.client.sync import SyncReckoner
    from reckoner.shared.settings import Settings

T = TypeVar("T")

DATA_PACKAGES = {"numpy", "pandas", "pyarrow"}


def run_to_exit_code(run: Callable[[], object]) -> int:
    """Call the command line and return its exit code; expected errors print one sentence, not a stack trace."""
    try:
        code = run()
        sys.stdout.flush()
    except ReckonerError as error:
        say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.TyperException as error:
        # Typer checks some options by pydantic.
        say(error.format_message().replace("Value error, ", "", 1))
        return 2
    except (BrokenPipeError, SystemExit):
        # The reader closed the pipe, as `head` does. Within a command, typer raises SystemExit for that.
        _discard_output()
        return 0
    except OSError as error:
        # An error about a file would name it.
        if error.filename is not None or error.strerror is None:
            raise
        _discard_output()
        say(f"The output cannot be written: {error.strerror}.")
        return 1
    except Exception as error:
        sentence = _redis_message(error)
        if sentence is None:
            raise
        say(sentence)
        return 1
    # typer returns the code of `typer.Exit`, and 130 after Ctrl-C.
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Redirect standard output to /dev/null, or Python tries to flush it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _redis_message(error: Exception) -> str | None:
    """The sentence for an error raised by Redis; None for any other error."""
    if "redis" not in sys.modules:
        return None
    from redis.exceptions import RedisError

    from reckoner.shared.redis.connections import trouble

    return f"Redis {trouble(error)}." if isinstance(error, RedisError) else None


def connect(settings: "Settings") -> "OpenReckoner":
    """The client for the configured Redis; enter it to connect."""
    from reckoner.producer.client.open import OpenReckoner, client_options
    from reckoner.shared.redis.embedded import find_redis

    return OpenReckoner(find_redis(settings), **client_options(settings))


def connect_blocking() -> "SyncReckoner":
    """The client for the configured Redis in a command that waits for its input; enter it to connect."""
    from reckoner.producer.client.open import client_options
    from reckoner.producer.client.sync import SyncReckoner
    from reckoner.shared.redis.embedded import find_redis
    from reckoner.shared.settings import load_settings

    settings = load_settings()
    return SyncReckoner(find_redis(settings), **client_options(settings))


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop: the only place where the command line enters one."""
    try:
        import asyncio

        return asyncio.run(work)
    finally:
        # After an early Ctrl-C the coroutine has never started; Python would warn about that.
        work.close()


def run_connected(work: "Callable[[OpenReckoner], Awaitable[T]]") -> T:
    """Run `work` in an event loop, with a connected client."""
    from reckoner.shared.settings import load_settings

    settings = load_settings()

    async def connected() -> T:
        async with connect(settings) as reckoner:
            return await work(reckoner)

    return run_async(connected())


@contextmanager
def say_if_cancelled(sentence: str) -> Iterator[None]:
    """Print the sentence if Ctrl-C cancels the block."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError:
        say(sentence)
        raise


@contextmanager
def say_if_interrupted(sentence: str) -> Iterator[None]:
    """Print the sentence after Ctrl-C, in a block without an event loop."""
    try:
        yield
    except KeyboardInterrupt:
        say(sentence)
        raise


def without_extra(error: ModuleNotFoundError, what: str) -> Exception:
    """The error to raise when `what` needs the extra `data` and a module is missing."""
    from reckoner.shared.errors import MissingExtraError

    if (error.name or "").partition(".")[0] not in DATA_PACKAGES:
        return error
    return MissingExtraError(f"{what} needs {error.name}, which is not installed: pip install 'ready-reckoner[data]'.")


def identifier(kind: str, argument: str) -> str:
    """Return the argument, which is the id of a `kind`.

    Raises:
        UsageError: it is not a valid id.
    """
    return require_id(kind, require_utf8(argument))


def require_utf8(text: str) -> str:
    """Return the argument.

    Raises:
        UsageError: its bytes are not UTF-8, so it cannot match any data.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"The argument {plain(text)} is not UTF-8 text.") from error
    return text
