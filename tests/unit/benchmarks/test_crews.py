"""What worker processes of a measurement did is looked through job by job."""

import pytest

from tests.benchmarks.crews import Delivery, once_each
from tests.benchmarks.frame import WrongAnswerError


def deliveries(*numbers: int) -> list[Delivery]:
    """Jobs that were done, at whatever time."""
    return [Delivery(number, 0.0, 1.0) for number in numbers]


def test_each_job_once_is_right_in_any_order() -> None:
    """Which process did it, and when, is all the same."""
    once_each(deliveries(2, 0, 1), 3)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0, 2), "1 were lost, and 0 were done again"),
        ((0, 1, 2, 1), "0 were lost, and 1 were done again"),
        ((0, 0), "2 were lost, and 1 were done again"),
    ],
)
def test_lost_and_repeated_jobs_are_reported(numbers: tuple[int, ...], told: str) -> None:
    """There is no speed of that."""
    with pytest.raises(WrongAnswerError, match=told):
        once_each(deliveries(*numbers), 3)


def test_an_unrequested_job_is_wrong() -> None:
    """However it came there."""
    with pytest.raises(WrongAnswerError):
        once_each(deliveries(0, 1, 2, 3), 3)
