"""A Sentinel failover: workers, clients and commands continue with the new primary."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.sentinels import Watched
from tests.system import System, synthetic_pairs


async def test_a_run_and_its_waiting_callers_survive_a_failover(tmp_path: Path) -> None:
    """The primary is killed during a run: the run passes, and the lists are right."""
    async with Watched(tmp_path) as watched:
        system = System(tmp_path / "a home", redis_url=watched.url, lease_s=1.0, first_look_s=1.0)
        system.server = SimpleNamespace(url=watched.url)  # type: ignore[assignment]
        try:
            system.import_pairs(synthetic_pairs())
            system.start_workers(2)
            await system.ready(2)
            generation = await system.fit()
            run_id = await system.start_run(block_size=1)
            async with system.reckoner() as reckoner:
                asked = await reckoner.enqueue("üser 001", fresh=True)
                assert asked.job is not None
                waiting = asyncio.ensure_future(anext(aiter(reckoner.wait([asked.job]))))
                await watched.kill_primary()
                _, flow = await waiting
                # The replica may lack the last writes: a waiting caller then learns that its job is unknown.
                assert flow is None or flow.state == "done"
                assert (await reckoner.recommend("üser 001", timeout=PATIENCE_S, fresh=True)).source == "cache"
            assert (await system.run_ended(run_id)).outcome == "passed"
            assert await system.lists(generation) == system.reference_lists(generation)
            commands = CommandLine(home=system.home, redis_url=watched.url)
            assert commands.run("get", "üser 002", "--json").objects[0]["source"] == "cache"
            assert f"at {watched.url}" in commands.run("doctor").out
        finally:
            await system.stop_workers()
