"""A full Redis pauses a run and does not wedge it."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from redis.asyncio import Redis

from reckoner.shared.redis.scripts import ask, load_script
from tests.system import System, eventually, synthetic_pairs

# Two workers that pause for up to 3 s, sometimes less: each wakes the other with its handed-back jobs. Without a pause
# there would be hundreds.
MAX_CLAIMS = 60


async def claims_in(redis: Redis, seconds: float) -> int:
    """How often workers claim in so many seconds."""
    await redis.config_set("slowlog-max-len", 10_000)
    await redis.config_set("slowlog-log-slower-than", 0)
    await asyncio.sleep(seconds)
    await redis.config_set("slowlog-log-slower-than", -1)
    claim = f"EVALSHA {load_script('claim').sha} ".encode()
    return sum(entry["command"].startswith(claim) for entry in await redis.slowlog_get(10_000))


async def test_a_run_that_meets_a_full_redis_pauses_and_ends_well_when_there_is_room(tmp_path: Path) -> None:
    """Nothing is lost or fails, though a worker dies meanwhile, and the bytes are the reference's."""
    async with System(tmp_path / "a home", task_deadline_s=2, first_look_s=0.2) as system:
        system.import_pairs(synthetic_pairs(users=300, pairs=1500))
        workers = system.start_workers(2)
        await system.ready(2)
        generation = await system.fit()
        async with system.reckoner() as reckoner:
            at_work = await reckoner.operator.workers()
            run_id = await system.start_run(block_size=1, window=4)

            async def blocks_ended() -> int:
                return await reckoner.runs.progress(run_id)

            async def well_under_way() -> bool:
                return await blocks_ended() >= 5

            async def workers_there() -> list[int]:
                return workers.pids

            await eventually(well_under_way)
            await reckoner.redis.config_set("maxmemory", 1)
            ended, paused = -1, await blocks_ended()
            while ended < paused:
                await asyncio.sleep(1.0)  # what was under way comes to its end
                ended, paused = paused, await blocks_ended()
            assert 5 <= paused < 300
            pids = await workers_there()
            assert await claims_in(reckoner.redis, seconds=4.0) < MAX_CLAIMS
            # No job counts as failed, and no process ends.
            assert [name async for name in reckoner.redis.scan_iter("arq:retry:*", count=10_000)] == []
            log = system.log.read_text()
            assert "worker paused" in log
            assert "worker ended" not in log
            assert await workers_there() == pids
            assert await reckoner.operator.workers() == at_work
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)
            await asyncio.sleep(2.0)
            assert await blocks_ended() == paused
            await reckoner.redis.config_set("maxmemory", 0)
            run = await system.run_ended(run_id)
            assert run.outcome == "passed", run
            assert not await ask(reckoner.redis, "EXISTS", system.keys.dead)
            # Only the killed one.
            assert system.log.read_text().count("worker ended") == 1
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
        assert await system.lists(generation) == system.reference_lists(generation)
