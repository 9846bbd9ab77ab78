"""Rollbacks and promotions under load: readers see one generation or the other, and each change at once."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import RESULT
from tests.commands import CommandLine
from tests.system import System, synthetic_pairs

CHANGES = 6
# A client keeps the pointer for a second.
SEEN_WITHIN_S = 1.5


class Load:
    """Readers and clicks, until they are stopped."""

    def __init__(self, system: System, lists: Mapping[str, Mapping[str, bytes]]) -> None:
        self._system, self._lists = system, lists
        self._users = sorted(next(iter(lists.values())))
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read(start)) for start in range(4)]
        self._tasks.append(asyncio.create_task(self._click()))
        self.reads = 0

    async def stop(self) -> None:
        """Wait for their ends."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _read(self, start: int) -> None:
        """One call answers from one generation, with that one's lists."""
        async with self._system.reckoner() as reckoner:
            while not self._stop.is_set():
                some = self._users[start::37]
                answers = await reckoner.get_many(some)
                [seen] = {answer.generation for answer in answers}
                for user, answer in zip(some, answers, strict=True):
                    expected = RESULT.decode(self._lists[seen][user]).items[: len(answer.items)]
                    assert [place.item for place in answer.items] == [place.item for place in expected]
                self.reads += len(answers)

    async def _click(self) -> None:
        async with self._system.reckoner() as reckoner:
            while not self._stop.is_set():
                await reckoner.enqueue_many(self._users[:5], fresh=True)
                await asyncio.sleep(0.05)


async def test_the_way_back_and_forth_under_load(tmp_path: Path) -> None:
    """Clicks are computed and lists are read by many while an operator goes back and forth by commands."""
    async with System(tmp_path, first_look_s=0.5, gate_churn=1.0, gate_concentration=1.0) as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(2)
        lists = dict[str, dict[str, bytes]]()
        for neighbours in (3, 60):
            generation = await system.fit(neighbours)
            assert (await system.run()).outcome == "passed"
            lists[generation] = system.reference_lists(generation, neighbours)
        commands, load = CommandLine(redis_url=system.server.url, home=system.home), Load(system, lists)
        async with system.reckoner() as reckoner:
            for _ in range(CHANGES):
                live = await reckoner.generation()
                other = next(name for name in lists if name != live)
                changed = await asyncio.to_thread(commands.call, "promote", other, "--json")
                assert changed.code == 0, changed.err
                # A command sees it at its next read.
                shown = await asyncio.to_thread(commands.call, "get", "üser 001", "--json")
                assert shown.objects[0]["generation"] == other
                late = time.monotonic() + SEEN_WITHIN_S
                while await reckoner.generation() != other:
                    assert time.monotonic() < late
                    await asyncio.sleep(0.02)
            back = await asyncio.to_thread(commands.call, "rollback", "--json")
            assert back.code == 0, back.err
            assert await ask(reckoner.redis, "GET", system.keys.current) == live.encode()
        await load.stop()
        assert load.reads > 0
        await system.idle()
        for name, expected in lists.items():
            assert await system.lists(name) == expected
