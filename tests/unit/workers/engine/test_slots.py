"""The slots: no lane takes all, and a suspect job runs alone."""

from typing import TYPE_CHECKING, Any, cast

import pytest

from reckoner.workers.engine.claims import Claimed
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.running import Running
from reckoner.workers.engine.slots import Slots

if TYPE_CHECKING:
    from reckoner.workers.engine.worker import EngineWorker

# A job that does not run asks nothing of its worker.
NOBODY = cast("EngineWorker", None)


def running(lane: int, deaths: int = 0, **lease: Any) -> Running:
    """A job of that lane under a lease."""
    held = Lease("a", "queue", "token", 0, lambda: True, **lease)
    return Running(NOBODY, held, Claimed(lane, b"a", 0, deaths, None))


def slots_with(*jobs: Running, most: int = 10, lanes: int = 2) -> Slots:
    slots = Slots(most, lanes)
    slots.running.update(jobs)
    return slots


@pytest.mark.parametrize(
    ("most", "lanes", "expected"), [(10, 2, [8, 8]), (10, 1, [10]), (4, 2, [3, 3]), (2, 2, [1, 1]), (1, 2, [1, 1])]
)
def test_a_free_worker_keeps_some_slots_for_each_other_lane(most: int, lanes: int, expected: list[int]) -> None:
    """One in five slots, at least one, if there are more slots than other lanes."""
    assert slots_with(most=most, lanes=lanes).room == (most, expected)


def test_a_lane_has_no_more_room_than_wanted() -> None:
    """Never more than the free slots."""
    slots = Slots(10, 2, wants=lambda lane: (99, 2)[lane])
    assert slots.room == (10, [8, 2])
    slots.running.update(running(1) for _ in range(7))
    assert slots.room == (3, [8, 1])


def test_what_runs_takes_up_a_slot_of_its_lane_until_it_is_just_being_ended() -> None:
    """Its slot is almost free."""
    slots = slots_with(*(running(1) for _ in range(8)), running(1, closing=True), running(0))
    assert slots.room == (1, [7, 0])
    assert len(slots.busy) == 9


def test_nothing_begins_beside_a_suspect() -> None:
    """Even while it is ending, if another job takes up a slot."""
    assert slots_with(running(0, deaths=1)).room == slots_with().no_room == (0, [0, 0])
    assert slots_with(running(0, deaths=1, closing=True), running(1)).room == (0, [0, 0])


def test_the_first_lane_keeps_its_share_while_a_worker_empties_for_a_suspect() -> None:
    """While long jobs of other lanes run. Once only its own are left, nothing starts."""
    slots = slots_with(running(1), running(1))
    slots.suspect_lane = 1
    assert slots.room == (2, [2, 0])
    slots.running.add(running(0))
    assert slots.room == (1, [1, 0])
    slots.running = {running(0)}
    assert slots.room == (0, [0, 0])


def test_a_suspect_that_waits_has_the_worker_when_nothing_else_runs() -> None:
    """Nothing starts before it, not even from more urgent lanes."""
    slots = slots_with(running(0))
    slots.suspect_lane = 1
    assert slots.room == (0, [0, 0])
    slots.running.clear()
    assert slots.room == (10, [0, 8])
