"""Two revisions on one Redis: each does the other's jobs and reads its lists.

`make test-upgrade REV=...` names the other revision.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import UserSpec
from tests.revisions import Side, check_out
from tests.root import ROOT
from tests.system import System, synthetic_pairs

pytestmark = pytest.mark.upgrade

REVISION = os.environ.get("UPGRADE_REVISION", "HEAD")
SETTINGS = {"first_look_s": 0.2, "log_level": "WARNING"}
BASKETS = (("item:01", "item:07"), ("item:02",), ("item:03", "item:05", "nothing"))


class Pair:
    """A system that two revisions share."""

    def __init__(self, system: System, there: Side, here: Side) -> None:
        self.system, self.there, self.here = system, there, here
        self.sides = (there, here)
        self.generation = ""
        self._letters = 0

    async def fit(self) -> None:
        """Fit on the other side, and compute the expected answers."""
        self.generation = (await self.there.say("fit"))[0]["generation"]
        self.truth = self.system.truth()
        self.expected = self.truth.lists(self.generation)
        self.users = sorted(self.expected)

    async def ask(self) -> None:
        """Each side asks for lists, a basket and a question, and gets the expected answers."""
        await self.system.forget_lists(self.generation)
        async with self.system.reckoner() as reckoner:
            for items in BASKETS:
                await ask(reckoner.redis, "DEL", self.system.keys.basket(self.generation, items))
        halves = (self.users[::2], self.users[1::2])
        await asyncio.gather(
            *(self._ask(*each) for each in zip(self.sides, halves, BASKETS, ("item:04", "item:09"), strict=False))
        )
        assert await self.system.lists(self.generation) == self.expected
        for shown in await self.both("get", *self.users[:20]):
            self._compare(shown, self.expected[shown["user"]])

    async def _ask(self, side: Side, users: Sequence[str], basket: Sequence[str], item: str) -> None:
        lists = await side.say("enqueue", *users, "--fresh", "--wait")
        assert sorted(shown["user"] for shown in lists) == users
        for shown in lists:
            self._compare(shown, self.expected[shown["user"]])
        [answer] = await side.say("enqueue", "--history", ",".join(basket), "--wait")
        self._compare(answer, self.truth.basket(self.generation, basket))
        similar = await side.say("similar", item)
        found = [(shown["item"], shown["similarity"]) for shown in similar[0]["items"]]
        assert found == self.truth.neighbours(item)[: len(found)]
        assert found

    def _compare(self, reported: Mapping[str, Any], expected: bytes) -> None:
        """A command's printed list is the head of the expected one."""
        found = [[place[name] for name in ("item", "score", "because")] for place in reported["items"]]
        assert found == json.loads(expected)["items"][: len(found)]
        assert found
        assert (reported["source"], reported["generation"]) == ("cache", self.generation)

    async def both(self, *arguments: str) -> list[Any]:
        """A command's output on both sides, which must be equal except for fields that one side lacks."""
        there, here = await asyncio.gather(*(side.say(*arguments) for side in self.sides))
        assert len(there) == len(here)
        for old, new in zip(there, here, strict=True):
            assert {name: new.get(name) for name in old} == old
        return here

    async def fail(self) -> None:
        """Turn a flow into a dead letter: its generation does not exist."""
        keys = self.system.keys
        async with self.system.reckoner() as reckoner:
            [flow] = await reckoner.flows.create([UserSpec("nobody", "none")], [keys.join_user("none", "nobody")])
        assert (await self.system.ended(flow)).state == "failed"
        self._letters += 1
        letters = await self.both("dead", "list")
        assert (letters[0]["subject"], len(letters)) == (flow, self._letters)

    async def drop_letters(self) -> None:
        """Each side drops the dead letter of the other's worker."""
        for side, letter in zip(self.sides, await self.both("dead", "list"), strict=True):
            await self.both("dead", "show", letter["letter"])
            dropped = await asyncio.to_thread(side.commands.run, "dead", "drop", letter["letter"])
            assert dropped.code == 0, dropped
            self._letters -= 1

    async def leave_work(self) -> tuple[list[str], str]:
        """Each side enqueues without workers, and both see it; returns jobs and a run."""
        await self.system.forget_lists(self.generation)
        jobs = []
        for side, users in zip(self.sides, (self.users[:9], self.users[9:18]), strict=True):
            jobs += [shown["job"] for shown in await side.say("enqueue", *users, "--fresh")]
        [run] = await self.there.say("batch", "--block", "7", "--in-flight", "3", "--no-wait")
        for job in (jobs[0], jobs[-1]):
            [shown] = await self.both("job", job)
            assert shown["state"] == "split"
        assert (await self.both("job", run["run"]))[0]["state"] == "run"
        return jobs, run["run"]

    async def done(self, jobs: Sequence[str], run_id: str) -> None:
        """All of it ends well."""
        assert (await self.system.run_ended(run_id)).outcome == "passed"
        assert {(await self.system.ended(job)).state for job in jobs} <= {"done"}
        assert await self.system.lists(self.generation) == self.expected
        await self.both("job", run_id)

    async def workers(self, count: int) -> None:
        """Both sides see so many workers."""
        await self.system.ready(count)
        for side in self.sides:
            [status] = await side.say("status")
            assert len(status["workers"]) == count
            assert all(worker["pid"] for worker in status["workers"])
            assert status["refused"] == {}
            assert status["dead"] == self._letters

    async def nothing_left(self) -> None:
        """Nothing is unfinished, and nothing was refused."""
        await self.system.idle()
        async with self.system.reckoner() as reckoner:
            assert not await ask(reckoner.redis, "EXISTS", self.system.keys.refused)
        assert await self.system.keys_for_ever() <= await self.system.keys_that_may_stay()
        assert "Traceback" not in self.system.log.read_text()


async def test_another_revision_works_beside_this_one(tmp_path: Path) -> None:
    """The old workers, both, the old stopped during a run, none, the new, and the old again: nothing is lost."""
    root = check_out(REVISION, tmp_path / "änother revision")
    async with System(tmp_path / "a höme", **SETTINGS) as system:
        system.import_pairs(synthetic_pairs())
        pair = Pair(system, Side(system, root), Side(system, ROOT))
        there, here = pair.sides

        theirs = there.start()
        await pair.workers(1)
        await pair.fit()
        await pair.ask()
        await pair.fail()

        ours = here.start()
        await pair.workers(2)
        await pair.ask()
        [run] = await there.say("batch", "--block", "1", "--no-wait")
        await theirs.stop()
        await pair.done([], run["run"])
        await ours.stop()
        await pair.workers(0)

        left = await pair.leave_work()
        ours = here.start()
        await pair.done(*left)
        await pair.ask()
        await pair.fail()
        await ours.stop()

        left = await pair.leave_work()
        theirs = there.start()
        await pair.done(*left)
        await pair.drop_letters()

        here.start()
        await pair.workers(2)
        await pair.nothing_left()
