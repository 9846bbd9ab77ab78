"""Upkeep goes on whatever goes wrong, and says so once."""

import asyncio

import pytest
from redis import exceptions
from structlog.testing import capture_logs

from reckoner.shared.periodic import run_periodically


async def said_of(*endings: Exception | None) -> list[tuple[str, str, bool]]:
    """What is logged of work that ends so, one time after the other: event, error, and whether with its traceback."""
    left = iter(endings)

    async def work() -> None:
        # As work that is cancelled when its worker ends.
        error = next(left, asyncio.CancelledError())
        if error is not None:
            raise error

    with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        await run_periodically("a round", 0.0, work)
    return [(line["event"], line["error"], line["exc_info"]) for line in lines]


async def test_a_lasting_error_is_logged_once() -> None:
    """It is logged again after a success, and so is another error."""
    wrong, other = ("a round failed", "ValueError", True), ("a round failed", "KeyError", True)
    assert await said_of(ValueError(), ValueError()) == [wrong]
    assert await said_of(ValueError(), None, ValueError()) == [wrong, wrong]
    assert await said_of(ValueError(), KeyError(), KeyError()) == [wrong, other]


async def test_trouble_of_redis_is_not_logged() -> None:
    """Nor does it make a known error new."""
    trouble = exceptions.ConnectionError("lost"), exceptions.OutOfMemoryError("full")
    assert await said_of(*trouble) == []
    assert await said_of(ValueError(), *trouble, ValueError()) == [("a round failed", "ValueError", True)]


async def test_a_planted_key_is_logged_without_a_traceback() -> None:
    """The traceback would not help."""
    planted = exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert await said_of(planted) == [("a round failed", "ResponseError", False)]
