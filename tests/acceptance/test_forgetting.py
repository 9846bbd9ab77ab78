"""Old generations with real workers: their lists go right after the flip, also when workers are killed meanwhile."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

from redis.asyncio import Redis

from shared.redis.scripts import ask
from tests.system import System, eventually, synthetic_pairs

LISTS = 60_000


async def holders(redis: Redis, system: System) -> Counter[str]:
    """How many lists each generation holds, by a look at all keys there are."""
    start = system.keys.result("", "").removesuffix(":")
    names = [name.decode() async for name in redis.scan_iter(match=f"{start}*", count=10_000)]
    return Counter(name.removeprefix(start).partition(":")[0] for name in names)


async def test_nights_leave_two_generations(tmp_path: Path) -> None:
    """The current and the previous one, soon after each of four nights, and nothing is left of the others."""
    async with System(tmp_path / "a home") as system, system.reckoner() as reckoner:
        system.start_workers(2)
        passed: list[str] = []
        for night in range(4):
            system.import_pairs(synthetic_pairs(night, users=60 + night))
            passed.append(await system.fit())
            assert (await system.run()).outcome == "passed"

            expected = {generation: 60 + number for number, generation in enumerate(passed) if number > night - 2}
            await eventually(lambda: _are_held(reckoner.redis, system, expected))  # noqa: B023 # awaited in this round
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()


async def test_workers_that_are_killed_while_they_delete_are_followed_by_others(tmp_path: Path) -> None:
    """Those go on where these have stopped, to the end."""
    async with System(tmp_path / "a home") as system, system.reckoner() as reckoner:
        many = [(f"user {number:06}", f"item {number % 50}") for number in range(LISTS)]
        system.import_pairs(many)
        workers = system.start_workers()
        old = await system.fit(1)
        names = [system.keys.result(old, user) for user, _ in many]
        for start in range(0, LISTS, 1000):
            await ask(
                reckoner.redis, "MSET", *(part for name in names[start : start + 1000] for part in (name, "a list"))
            )
        for night in range(2):
            system.import_pairs(synthetic_pairs(night))
            await system.fit()
            await system.run()
        killed = 0
        while (held := await holders(reckoner.redis, system))[old]:
            if held[old] < LISTS and killed < 3 and (pids := workers.pids):
                workers.send(signal.SIGKILL)
                killed += len(pids)
            await asyncio.sleep(0.05)
        assert killed, "none was killed in time"
        await eventually(lambda: _is_forgotten(system, reckoner.redis, old))


async def _are_held(redis: Redis, system: System, expected: dict[str, int]) -> bool:
    return await holders(redis, system) == expected


async def _is_forgotten(system: System, redis: Redis, generation: str) -> bool:
    return not await ask(redis, "HEXISTS", system.keys.generations, generation)
