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


async def test_what_lasts_is_told_once() -> None:
    """And again when it went well meanwhile, or something else goes wrong."""
    wrong, other = ("a round failed", "ValueError", True), ("a round failed", "KeyError", True)
    assert await said_of(ValueError(), ValueError()) == [wrong]
    assert await said_of(ValueError(), None, ValueError()) == [wrong, wrong]
    assert await said_of(ValueError(), KeyError(), KeyError()) == [wrong, other]


async def test_a_redis_in_trouble_is_not_told() -> None:
    """Nor does it make what was told before new."""
    trouble = exceptions.ConnectionError("lost"), exceptions.OutOfMemoryError("full")
    assert await said_of(*trouble) == []
    assert await said_of(ValueError(), *trouble, ValueError()) == [("a round failed", "ValueError", True)]


async def test_a_planted_key_is_told_in_a_line() -> None:
    """Its traceback says nothing."""
    planted = exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert await said_of(planted) == [("a round failed", "ResponseError", False)]
