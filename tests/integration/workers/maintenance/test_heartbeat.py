"""The heartbeat: it says what a worker is and does."""

import asyncio
import os
import socket
import time
from pathlib import Path

import psutil
import pytest

from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.metrics.counters import read_counts
from reckoner.shared.metrics.table import NIGHTS_ENDED
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.shared.version import installed_version
from reckoner.shared.wire.shapes import Beat
from reckoner.workers.engine.claims import Claims
from reckoner.workers.maintenance.heartbeat import Heartbeat, resident_bytes
from reckoner.workers.process.wiring import connect_worker
from reckoner.workers.runtime.delivery import Delivery
from tests.world import Hand, World


async def test_a_heartbeat_describes_its_worker_and_jobs(hand: Hand, world: World) -> None:
    """Its host, process, release, age and memory, and each job while it is delivered, with its start."""
    heartbeat, heartbeats = Heartbeat(hand.runtime), Heartbeats(hand.redis, hand.runtime.keys)
    release, before_ms = asyncio.Event(), time.time_ns() // 1_000_000

    async def work() -> None:
        await release.wait()

    ctx = {"runtime": hand.runtime, "job_try": 1, "job_deaths": 0, "lease": None}
    running = asyncio.create_task(Delivery(ctx, "j" * 1000).run(work))
    await asyncio.sleep(0)
    await heartbeat.beat()
    (each,) = await heartbeats.recent()
    beat = each.beat
    assert beat is not None
    assert (each.worker, beat.worker) == (hand.runtime.worker_id,) * 2
    assert (beat.host, beat.pid, beat.version) == (socket.gethostname(), os.getpid(), installed_version())
    assert [job.job for job in beat.jobs] == ["j" * 200]
    assert before_ms <= beat.jobs[0].since_ms <= beat.beat_ms
    assert (beat.lease_ms, beat.draining, each.silent) == (5_000, False, False)
    assert abs(each.skew_ms) < 5_000
    release.set()
    await running
    await heartbeat.beat()
    (each,) = await heartbeats.recent()
    assert each.beat is not None
    assert each.beat.jobs == []


async def test_a_stopped_worker_is_removed_at_once_and_a_dead_one_expires(hand: Hand) -> None:
    """Both keys of a heartbeat expire ten seconds after its lease."""
    keys, heartbeat = hand.runtime.keys, Heartbeat(hand.runtime)
    await heartbeat.beat()
    for name in (keys.workers, keys.beat(hand.runtime.worker_id)):
        assert 0 < await ask(hand.redis, "PTTL", name) <= 15_000
    await heartbeat.stop()
    assert await Heartbeats(hand.redis, keys).recent() == []
    assert await hand.dump() == {}


async def test_another_type_at_the_key_of_the_workers_stops_no_exit(hand: Hand) -> None:
    """It is logged, and the worker exits normally."""
    heartbeat = Heartbeat(hand.runtime)
    await heartbeat.beat()
    await ask(hand.redis, "SET", hand.runtime.keys.workers, "planted", "EX", 100)
    await heartbeat.stop()


async def test_a_beat_that_cannot_be_read_is_a_beat(hand: Hand) -> None:
    """Of another release, foreign, of another type or gone: the worker exists, without details."""
    keys, redis, now_ms = hand.runtime.keys, hand.redis, await hand.runtime.now_ms()
    await ask(
        redis,
        "ZADD",
        keys.workers,
        now_ms,
        "newer",
        now_ms,
        "planted",
        now_ms,
        "gone",
        now_ms,
        b"\xff",
        1,
        "silent for long",
    )
    await ask(redis, "SET", keys.beat("newer"), b'{"format":2}')
    await ask(redis, "HSET", keys.beat("planted"), "a", "b")
    alive = await Heartbeats(redis, keys).recent()
    assert [(each.worker, each.beat, each.skew_ms) for each in alive] == [
        ("gone", None, 0),
        ("newer", None, 0),
        ("planted", None, 0),
        ("\ufffd", None, 0),
    ]


@pytest.mark.parametrize("score", ["+inf", "1e14", "9e15"])
async def test_a_heartbeat_in_the_future_is_quarantined(hand: Hand, score: str) -> None:
    """It is no worker, takes no share of due jobs, and is counted once."""
    keys, redis, heartbeat = hand.runtime.keys, hand.redis, Heartbeat(hand.runtime)
    await heartbeat.beat()
    await ask(redis, "ZADD", keys.workers, score, "planted", score, b"\xff")
    assert [each.worker for each in await Heartbeats(redis, keys).recent()] == [hand.runtime.worker_id]
    jobs = [f"{keys.prefix}-{number}" for number in range(6)]
    await ask(redis, "ZADD", keys.batch, *(part for job in jobs for part in (1, job)))
    claims = Claims(redis, hand.worker.keys, 5.0)  # type: ignore[attr-defined]
    assert len((await claims.claim("a token", 10, [10, 10], alone=True)).jobs) == 6
    for _ in range(2):
        await heartbeat.beat()
    assert await ask(redis, "ZRANGE", keys.workers, 0, -1) == [hand.runtime.worker_id.encode()]
    assert await ask(redis, "HGETALL", keys.refused) == {b"member": b"2"}
    assert [letter[b"data"] for _, letter in await ask(redis, "XRANGE", keys.dead, "-", "+")] == [b"planted", b"\xff"]


def say(worker: str, lease_ms: int) -> Beat:
    return Beat(1, worker, "host", 1, "", 1, 2, 3, [], lease_ms)


async def test_who_is_silent_for_longer_than_its_lease_is_not_alive(hand: Hand) -> None:
    """It gets no share of due jobs; an unreadable heartbeat lives five seconds."""
    keys, redis, heartbeats = hand.runtime.keys, hand.redis, Heartbeats(hand.redis, hand.runtime.keys)
    leases = {"patient": 60_000, "hasty": 1_000, "here": 5_000}
    for worker, lease_ms in leases.items():
        await heartbeats.write(say(worker, lease_ms))
    seconds, _ = await ask(redis, "TIME")
    ages_s = {"patient": 30, "hasty": 2, "old": 3, "older": 9, "here": 0, "forgotten": 16}
    for worker, age_s in ages_s.items():
        await ask(redis, "ZADD", keys.workers, (int(seconds) - age_s) * 1000, worker)
    assert [each.worker for each in await heartbeats.alive()] == ["here", "old", "patient"]
    assert [each.worker for each in await heartbeats.recent() if each.silent] == ["hasty", "older"]
    jobs = [f"{keys.prefix}-{number}" for number in range(12)]
    await ask(redis, "ZADD", keys.batch, *(part for job in jobs for part in (1, job)))
    claims = Claims(redis, hand.worker.keys, 5.0)  # type: ignore[attr-defined]
    # By the lease that all workers share: "here", "old" and "hasty" are alive.
    assert len((await claims.claim("a token", 10, [10, 10], alone=True)).jobs) == 4


async def test_a_worker_of_a_short_lease_beats_often(world: World, redis_url: str, prefix: str) -> None:
    """A single late beat must not look like a death."""
    pool = connect_worker(Settings(), redis_url)
    for lease_s, pause_s in ((1.0, 1 / 3), (3.0, 1.0), (60.0, 1.0)):
        hand = Hand(world, pool, prefix, lease_s=lease_s)
        assert Heartbeat(hand.runtime).pause_s == pause_s
        hand.close()
    await pool.aclose()


def test_memory_equals_the_systems_figure() -> None:
    """In bytes, up to the cost of another measurement."""
    assert abs(resident_bytes() - psutil.Process().memory_info().rss) < 20_000_000


async def test_a_heartbeat_says_what_the_store_names_as_current(hand: Hand, own_world: World, tmp_path: Path) -> None:
    """From the store's next probe on; unknown before the first one, and while the store is unavailable."""
    heartbeat, watch = Heartbeat(hand.runtime), hand.runtime.store_watch
    monitored = own_world.store.root
    watch._store = own_world.store

    async def said() -> str | None:
        await heartbeat.beat()
        [each] = await Heartbeats(hand.redis, hand.runtime.keys).recent()
        assert each.beat is not None
        return each.beat.snapshot

    assert await said() is None
    assert await watch.probe()
    assert await said() == own_world.snapshot.id
    pointer = monitored / "current-snapshot"
    for written, seen in ((b"another", "another"), (b"x" * 999, "x" * 200), (b"\xff", None), (b"", "")):
        pointer.write_bytes(written)
        assert await watch.probe()
        assert await said() == seen
    monitored.rename(tmp_path / "away")
    assert not await watch.probe()
    assert await said() is None


async def test_the_last_counts_are_added_when_a_worker_stops(hand: Hand) -> None:
    """They would be lost with the process."""
    hand.runtime.counters.count(NIGHTS_ENDED, "live")
    await Heartbeat(hand.runtime).stop()
    assert (await read_counts(hand.redis, hand.runtime.keys)).total(NIGHTS_ENDED, "live") == 1
