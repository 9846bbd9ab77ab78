"""Stale lists are computed again, and what users have done leaves Redis once the live snapshots hold it."""

import asyncio

import msgspec
import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import RECORD
from reckoner.workers.maintenance.refreshing import SKEW_MS, Refreshing
from tests.patience import PATIENCE_S
from tests.world import Hand, World


@pytest.mark.parametrize("planted", [1, 400])
async def test_a_planted_name_is_dropped(hand: Hand, world: World, planted: int) -> None:
    """Bytes that are no text are no user; the others' lists are computed, and the refresh ends."""
    await hand.adopt(world)
    runtime = hand.runtime
    for number in range(planted):
        await ask(hand.redis, "ZADD", runtime.keys.stale, 0, b"\xff\xfe%d" % number)
    await runtime.events.hide("Ada", ["item 01"])
    async with asyncio.timeout(PATIENCE_S):
        assert await Refreshing(runtime).refresh() == 1
    assert not await ask(hand.redis, "EXISTS", runtime.keys.stale)


async def test_users_of_whom_nothing_is_left_are_dropped(hand: Hand, world: World) -> None:
    """Also where no event was ever recorded; but not while lists are older than their last change."""
    generation, runtime = await hand.adopt(world), hand.runtime
    await runtime.events.hide("Ada", ["item 01"])
    await runtime.events.hide("user:1", ["item 01"])
    await runtime.events.hide("Ada", ["item 01"], show=True)
    refreshing = Refreshing(runtime)
    assert await refreshing.trim() == 0
    assert await ask(hand.redis, "HKEYS", runtime.keys.recent_versions) == [b"Ada", b"user:1"]
    later = msgspec.structs.replace(generation.record, made_ms=await runtime.now_ms() + 2 * SKEW_MS)
    await ask(hand.redis, "SET", runtime.keys.record(generation.id), RECORD.encode(later))
    assert await refreshing.trim() == 0
    assert await ask(hand.redis, "HKEYS", runtime.keys.recent_versions) == [b"user:1"]
    assert await ask(hand.redis, "ZRANGE", runtime.keys.recents, 0, -1) == [b"user:1"]
    assert await runtime.events.hidden_for("user:1") == ["item 01"]
