"""The slots of a worker: its running jobs, and how many more it may claim."""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from reckoner.workers.engine.running import Running

# Each lane has a fifth of the slots reserved, so that no lane waits for the jobs of another.
RESERVED_SHARE = 5


class Room(NamedTuple):
    """How many jobs may be claimed now, in total and from each lane."""

    jobs: int
    lanes: list[int]


def any_number(lane: int) -> int:
    """No limit; the default for `wants`."""
    return sys.maxsize


class Slots:
    """The slots of a worker: `most` in total over a number of `lanes`. It claims from a lane what `wants` allows."""

    def __init__(self, most: int, lanes: int, wants: Callable[[int], int] = any_number) -> None:
        self.running = set[Running]()
        self.suspect_lane: int | None = None
        """The lane of a waiting suspect job, which must run alone; None if there is none."""
        self._most = most
        self._lanes = lanes
        self._wants = wants

    @property
    def busy(self) -> list[Running]:
        """The jobs that take up a slot: all but those whose end was sent."""
        return [running for running in self.running if not running.lease.closing]

    @property
    def no_room(self) -> Room:
        """An empty room."""
        return Room(0, [0] * self._lanes)

    @property
    def room(self) -> Room:
        """The free slots."""
        busy = self.busy
        if busy and any(running.suspect for running in self.running):
            return self.no_room
        taken = [0] * self._lanes
        for running in busy:
            taken[running.lane] += 1
        if busy and self.suspect_lane is not None:
            return self._room_while_emptying(taken)
        others = self._lanes - 1
        reserved = others * self._share if self._most > others else 0
        free = [max(0, self._most - reserved - taken[lane]) for lane in range(self._lanes)]
        lanes = [min(most, self._wants(lane)) for lane, most in enumerate(free)]
        if self.suspect_lane is not None and not busy:
            # The worker is empty now: only the suspect may be claimed, even before more urgent lanes.
            lanes = [most if lane == self.suspect_lane else 0 for lane, most in enumerate(lanes)]
        return Room(self._most - len(busy), lanes)

    def _room_while_emptying(self, taken: Sequence[int]) -> Room:
        """The free slots while the worker empties for a suspect.

        The first lane keeps its share meanwhile: its jobs are short, those of other lanes may be long.
        """
        if taken[0] == sum(taken):
            return self.no_room
        free = max(0, self._share - taken[0])
        return Room(free, [free, *[0] * (self._lanes - 1)])

    @property
    def _share(self) -> int:
        """How many slots are reserved for a lane."""
        return max(1, self._most // RESERVED_SHARE)
