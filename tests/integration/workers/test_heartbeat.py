"""A worker's heartbeat says what the worker is and does, for as long as it beats."""

import asyncio
import os
import socket
import time

import psutil

from shared.heartbeats import Heartbeats
from shared.redis.scripts import ask
from shared.version import installed_version
from tests.world import Hand, World
from workers.delivery import Delivery
from workers.heartbeat import Heartbeat, resident_bytes


async def test_a_beat_says_what_the_worker_is_and_runs(hand: Hand, world: World) -> None:
    """Its host, process, release, age and memory, and each job while it is delivered, with its start."""
    heartbeat, heartbeats = Heartbeat(hand.runtime), Heartbeats(hand.redis, hand.runtime.keys)
    let_go, before_ms = asyncio.Event(), time.time_ns() // 1_000_000

    async def work() -> None:
        await let_go.wait()

    running = asyncio.create_task(Delivery({"runtime": hand.runtime, "job_try": 1}, "j" * 1000).run(work))
    await asyncio.sleep(0)
    await heartbeat.beat()
    (heard,) = await heartbeats.heard()
    beat = heard.beat
    assert beat is not None
    assert (heard.worker, beat.worker) == (hand.runtime.worker_id,) * 2
    assert (beat.host, beat.pid, beat.version) == (socket.gethostname(), os.getpid(), installed_version())
    assert [job.job for job in beat.jobs] == ["j" * 200]
    assert before_ms <= beat.jobs[0].since_ms <= beat.beat_ms
    assert heard.age_ms < 10_000
    assert abs(heard.skew_ms) < 5_000
    let_go.set()
    await running
    await heartbeat.beat()
    (heard,) = await heartbeats.heard()
    assert heard.beat is not None
    assert heard.beat.jobs == []


async def test_who_stops_is_forgotten_at_once_and_who_dies_soon(hand: Hand) -> None:
    """Both keys of a beat end by themselves after ten seconds."""
    keys, heartbeat = hand.runtime.keys, Heartbeat(hand.runtime)
    await heartbeat.beat()
    for name in (keys.workers, keys.beat(hand.runtime.worker_id)):
        assert 0 < await ask(hand.redis, "PTTL", name) <= 10_000
    await heartbeat.stop()
    assert await Heartbeats(hand.redis, keys).heard() == []
    assert await hand.dump() == {}


async def test_what_stands_in_the_place_of_the_workers_keeps_nobody_from_ending(hand: Hand) -> None:
    """It is logged, and the worker ends in good order."""
    heartbeat = Heartbeat(hand.runtime)
    await heartbeat.beat()
    await ask(hand.redis, "SET", hand.runtime.keys.workers, "planted", "EX", 100)
    await heartbeat.stop()


async def test_a_beat_that_cannot_be_read_is_a_beat(hand: Hand) -> None:
    """Of another release, planted, of another type or gone: the worker is there, and no more is known of it."""
    keys, redis = hand.runtime.keys, hand.redis
    seconds, _ = await ask(redis, "TIME")
    await ask(redis, "ZADD", keys.workers, int(seconds) * 1000, "newer", "+inf", "planted", int(seconds) * 1000, "gone")
    await ask(redis, "ZADD", keys.workers, int(seconds) * 1000, b"\xff", 1, "silent for long")
    await ask(redis, "SET", keys.beat("newer"), b'{"format":2}')
    await ask(redis, "HSET", keys.beat("planted"), "a", "b")
    heard = await Heartbeats(redis, keys).heard()
    assert [(each.worker, each.beat, each.skew_ms) for each in heard] == [
        ("gone", None, 0),
        ("newer", None, 0),
        ("planted", None, 0),
        ("\ufffd", None, 0),
    ]


def test_memory_is_what_the_system_says_it_is() -> None:
    """Pages in bytes, give or take what another look costs."""
    assert abs(resident_bytes() - psutil.Process().memory_info().rss) < 20_000_000
