"""A comparison on real workers: equal bytes for any number of them, also if they are killed all the time."""

import asyncio
from pathlib import Path

import pytest

from tests.acceptance.test_evaluation import QUICK, artifacts, storm
from tests.patience import PATIENCE_S
from tests.system import System, synthetic_pairs

SIDES = ("slim neighbours=20", "live", "--random", "5", "--json")


async def compare(system: System) -> bytes:
    """Run the command; returns what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(system.python, "-m", "reckoner.producer", "compare", *SIDES),
        env=system.environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out


@pytest.mark.long
async def test_a_comparison_is_the_same_whoever_dies(tmp_path: Path) -> None:
    """Its workers are killed while it fits and scores; the live generation and the store stay as they are."""
    async with System(tmp_path / "home", **QUICK) as system:
        system.import_pairs(synthetic_pairs())
        one = system.start_workers()
        await system.ready(1)
        generation = await system.fit()
        await system.run()
        before, lists = artifacts(system), await system.lists(generation)
        calm = await compare(system)
        assert calm.startswith(b'{"sides":[{"name":"slim neighbours=20"')
        # The worker deletes its parts just after the end of their flow, and leaves no job half done.
        await one.stop()
        assert artifacts(system) == before
        assert await storm(system, compare(system)) == calm
        async with system.reckoner() as reckoner:
            assert await reckoner.results.generations.current() == generation
        assert await system.lists(generation) == lists
        # One that was killed just after the end of a flow leaves its parts to the garbage collection.
        assert artifacts(system) | {"parts": before["parts"]} == before
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
