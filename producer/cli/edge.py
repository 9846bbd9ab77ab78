"""The edge of the command line: where errors become one sentence and an exit code, and values become lines."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from shared.errors import ReckonerError, RedisUnavailableError
from shared.settings import Settings

T = TypeVar("T")

INTERRUPTED = 130


def guarded(run: Callable[[], None]) -> int:
    """Call the command line; returns its exit code. No stack trace reaches a user."""
    try:
        run()
    except typer.Exit as exit_:
        return exit_.exit_code
    except ReckonerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.TyperException as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has had enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def find_redis(settings: Settings) -> str:
    """The URL of the Redis that is set, or of the embedded one that `up` runs; waits while that is starting.

    Raises:
        RedisUnavailableError: none is set and none runs.
    """
    if settings.redis_url:
        return settings.redis_url
    from shared.redis.embedded import find_embedded

    url = find_embedded(settings.home_path)
    if url is None:
        raise RedisUnavailableError(
            "No Redis: set RECKONER_REDIS_URL, or start the embedded one with `reckoner up` and leave it running."
        )
    return url


def complete(work: Coroutine[Any, Any, T]) -> T:
    """The one place where the command line enters an event loop."""
    return asyncio.run(work)
