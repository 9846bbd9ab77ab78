"""Garbage collection of generations by real workers: right after the flip, and after kills."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.generations import decode_generation_lists
from tests.system import System, eventually, synthetic_pairs

LISTS = 60_000


async def holders(redis: Redis, system: System) -> Counter[str]:
    """The number of lists of each generation, counted over all keys."""
    start = system.keys.result("", "").removesuffix(":")
    names = [name.decode() async for name in redis.scan_iter(match=f"{start}*", count=10_000)]
    return Counter(name.removeprefix(start).partition(":")[0] for name in names)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A system with two workers."""
    async with System(tmp_path_factory.mktemp("forgetting") / "a home") as running:
        running.start_workers(2)
        yield running


async def test_nights_leave_two_generations(system: System) -> None:
    """The current and the previous one, soon after each of three nights."""
    async with system.reckoner() as reckoner:
        passed: list[str] = []
        for night in range(3):
            system.import_pairs(synthetic_pairs(night, users=60 + night))
            passed.append(await system.fit())
            assert (await system.run()).outcome == "passed"

            expected = {generation: 60 + number for number, generation in enumerate(passed) if number > night - 2}
            await eventually(lambda: _are_held(reckoner.redis, system, expected))  # noqa: B023 # awaited in this round
    await system.idle()
    assert await system.keys_for_ever() <= await system.keys_that_may_stay()


async def test_workers_that_are_killed_while_they_delete_are_followed_by_others(system: System) -> None:
    """Other workers continue the deletion to its end."""
    async with system.reckoner() as reckoner:
        many = [(f"user {number:06}", f"item {number % 50}") for number in range(LISTS)]
        system.import_pairs(many)
        old = await system.fit(1)
        names = [system.keys.result(old, user) for user, _ in many]
        for start in range(0, LISTS, 1000):
            await ask(
                reckoner.redis, "MSET", *(part for name in names[start : start + 1000] for part in (name, "a list"))
            )
        for night in range(3, 5):
            system.import_pairs(synthetic_pairs(night))
            await system.fit()
            await system.run()
        killed, kills = 0, 2
        while (entry := (await reckoner.results.generations.lists()).get(old.encode())) is not None:
            if decode_generation_lists(entry).gone and kills and (pids := system.worker_pids):
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                killed, kills = killed + len(pids), kills - 1
            await asyncio.sleep(0.005)
        assert killed, "none was killed in time"
        assert old not in await holders(reckoner.redis, system)


async def _are_held(redis: Redis, system: System, expected: dict[str, int]) -> bool:
    return await holders(redis, system) == expected
