"""A Redis that is full pauses a run, and does not wedge it."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from shared.redis.scripts import ask
from tests.system import System, eventually, synthetic_pairs


async def test_a_run_that_meets_a_full_redis_pauses_and_ends_well_when_there_is_room(tmp_path: Path) -> None:
    """Nothing is lost, nothing fails, though a worker dies meanwhile, and the bytes are the reference's."""
    async with System(tmp_path / "a home", task_deadline_s=2, first_look_s=0.2) as system:
        system.import_pairs(synthetic_pairs())
        workers = system.start_workers(2)
        await system.ready(2)
        generation = await system.fit()
        run_id = await system.start_run(block_size=1, window=4)
        async with system.reckoner() as reckoner:

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
            assert 5 <= paused < 60
            # A full Redis may end a stock worker, and then the supervisor is just starting another.
            pids = await eventually(workers_there)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)
            await asyncio.sleep(2.0)
            assert await blocks_ended() == paused
            await reckoner.redis.config_set("maxmemory", 0)
            run = await system.run_ended(run_id)
            assert run.outcome == "passed", run
            assert not await ask(reckoner.redis, "EXISTS", system.keys.dead)
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
        assert await system.lists(generation) == system.reference_lists(generation)
