"""One command repairs a run that was refused because its blocks failed, and its generation goes live."""

import asyncio
from pathlib import Path

from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.system import System, synthetic_pairs

KILLER = "tests/killer.py"


async def test_blocks_that_ran_too_long_are_done_again_and_readers_see_it(tmp_path: Path) -> None:
    """A worker with slow kernels fails both blocks; a healthy one repeats them."""
    async with System(tmp_path / "a höme", task_deadline_s=2, first_look_s=0.2, tasks_per_job=2) as system:
        system.import_pairs(synthetic_pairs())
        healthy = system.start_workers()
        before, after = await system.fit(), await system.fit(neighbours=5)
        await healthy.stop()
        commands = CommandLine(redis_url=system.server.url, home=system.home)
        ill = system.start_workers(program=[KILLER, "--pause", "3"])
        refused = await asyncio.to_thread(commands.run, "batch", "--block", "30", "--in-flight", "1", "--json")
        await ill.stop()
        assert refused.code == 1
        assert "Refused: not every user is done" in refused.err
        run_id = refused.objects[0]["run"]
        assert refused.objects[0]["manifest"]["reasons"] == ["split ran longer than 2 s"]

        system.start_workers()
        listed = commands.run("dead", "list", "--json").objects
        assert [letter["asked_for"]["block"] for letter in listed] == [1, 0]
        assert all(letter["asked_for"]["run"] == run_id for letter in listed)
        assert commands.run("get", "üser 001", "--json").objects[0]["generation"] == before
        retried = await asyncio.to_thread(commands.run, "dead", "retry", "--all", "--json")
        assert (retried.code, retried.err) == (0, "")
        assert [shown["letter"] for shown in retried.objects] == [letter["letter"] for letter in listed[::-1]]

        assert (await system.run_ended(run_id)).outcome == "passed"
        assert [(await system.ended(shown["job"])).state for shown in retried.objects] == ["done", "done"]
        answer = commands.run("get", "üser 001", "--json").objects[0]
        assert (answer["generation"], answer["source"]) == (after, "cache")
        assert commands.run("dead", "list", "--json").objects == []
        await system.idle()
        assert await system.lists(after) == system.reference_lists(after, 5)
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
        async with system.reckoner() as reckoner:
            assert not await ask(reckoner.redis, "EXISTS", system.keys.blocks(run_id))
