"""Asking the workers: a job for what is wanted, waited for, and asked for again when Redis has lost it."""

from collections.abc import Sequence
from functools import partial

from producer.waiting import Waiting, patiently
from shared.flow_state import Flow
from shared.flows import Flows
from shared.results import Results
from shared.wire import UserSpec

# How often the same is asked for when Redis has lost both flow and result.
MOST_ASKS = 3
LOST = "Redis lost the job, and lost it again"


class Asking:
    """What is asked of the workers through `flows`, and waited for by `waiting` until it is in `results`.

    What goes on is never asked for twice, whatever becomes of the connection meanwhile: only what Redis does not know
    any more is asked for again.
    """

    def __init__(self, flows: Flows, results: Results, waiting: Waiting) -> None:
        self._flows = flows
        self._results = results
        self._waiting = waiting

    async def create(self, users: Sequence[str], generation: str) -> list[str]:
        """Ask for users' lists; returns the job that works for each."""
        join = self._flows.keys.join_user
        return await self._flows.create(
            [UserSpec(user, generation) for user in users], [join(generation, user) for user in users]
        )

    async def lists(self, users: Sequence[str], generation: str, *, fresh: bool) -> dict[str, str]:
        """Ask for users' lists and wait until they are in the cache; returns those whose job failed, with the reason.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        users, failed = list(dict.fromkeys(users)), dict[str, str]()
        jobs = await self.create(users, generation)
        for left in reversed(range(MOST_ASKS)):
            users = await self._wait(dict(zip(jobs, users, strict=True)), failed)
            if not fresh:
                users = await patiently(partial(self._without_list, users, generation))
            if not users or not left:
                break
            jobs = await patiently(partial(self.create, users, generation))
        return failed | dict.fromkeys(users, LOST)

    async def _wait(self, users: dict[str, str], failed: dict[str, str]) -> list[str]:
        """Wait for the jobs of `users`, and note which failed; returns the users whose job Redis does not know."""
        lost = []
        async for job, flow in self._waiting.ends(list(users)):
            if flow is None:
                lost.append(users[job])
            elif flow.state != "done":
                failed[users[job]] = why(flow)
        return lost

    async def _without_list(self, users: Sequence[str], generation: str) -> list[str]:
        results = await self._results.read(generation, users)
        return [user for user, result in zip(users, results, strict=True) if result is None]


def why(flow: Flow) -> str:
    """Why a flow came to no good end."""
    return flow.reason or flow.state
