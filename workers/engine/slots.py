"""The slots of a worker of the engine: what it runs, and how much more it may claim."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from reckoner.workers.engine.running import Running

# A worker keeps one in so many of its slots for each other lane, so that no lane waits for the end of another's jobs.
KEPT_SHARE = 5


class Room(NamedTuple):
    """How many jobs may be claimed now, and how many of each lane."""

    jobs: int
    lanes: list[int]


def any_number(lane: int) -> int:
    """What is wanted of a lane by a worker whose jobs do not wait for each other."""
    return sys.maxsize


class Slots:
    """The `most` slots of a worker that claims from so many `lanes`, of each no more than it `wants`."""

    def __init__(self, most: int, lanes: int, wants: Callable[[int], int] = any_number) -> None:
        self.running = set[Running]()
        self.suspect_lane: int | None = None
        """The lane in which a job waits that is to run alone."""
        self._most = most
        self._lanes = lanes
        self._wants = wants

    @property
    def busy(self) -> list[Running]:
        """The jobs that take up a slot: those that are not just being ended."""
        return [running for running in self.running if not running.lease.closing]

    @property
    def none(self) -> Room:
        """No room at all."""
        return Room(0, [0] * self._lanes)

    @property
    def room(self) -> Room:
        """What is free."""
        busy = self.busy
        if busy and any(running.suspect for running in self.running):
            return self.none
        taken = Counter(running.lane for running in busy)
        if busy and self.suspect_lane is not None:
            return self._room_while_emptying(taken)
        others = self._lanes - 1
        kept = others * self._share if self._most > others else 0
        free = [max(0, self._most - kept - taken[lane]) for lane in range(self._lanes)]
        lanes = [min(most, self._wants(lane)) for lane, most in enumerate(free)]
        if self.suspect_lane is not None and not busy:
            # It has waited until nothing runs here, and does not wait for the lanes before its own.
            lanes = [most if lane == self.suspect_lane else 0 for lane, most in enumerate(lanes)]
        return Room(self._most - len(busy), lanes)

    def _room_while_emptying(self, taken: Counter[int]) -> Room:
        """What is free while the worker empties for a suspect.

        The first lane keeps its share while jobs of other lanes run, which may take long; its own are short.
        """
        if taken[0] == taken.total():
            return self.none
        free = max(0, self._share - taken[0])
        return Room(free, [free, *[0] * (self._lanes - 1)])

    @property
    def _share(self) -> int:
        """How many slots are kept for a lane."""
        return max(1, self._most // KEPT_SHARE)
