"""What a remembered evaluation says about two configurations."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from reckoner.shared.serving.evaluations import Configuration, Difference, Judgement, evaluations_in, newest_judgement
from reckoner.shared.serving.history import ENTRY, Entry, entry_file
from tests.evaluations import Other, evaluation_entry

LIVE: Configuration = ({"similarity": "slim", "neighbours": 100}, 0.25)
OTHER: Configuration = ({"similarity": "cosine", "neighbours": 100}, 0.25)
THIRD: Configuration = ({"similarity": "cosine", "neighbours": 9}, 0.25)
NO_RECENCY = (OTHER[0], 0.0)


def remembered(*others: Other, number: int = 1, baseline: Configuration = LIVE) -> Entry:
    """As it comes back from Redis."""
    return ENTRY.decode(ENTRY.encode(evaluation_entry(f"e{number}", baseline, *others)))


def judged(entries: Sequence[Entry]) -> Judgement | None:
    return newest_judgement(entries, OTHER, LIVE)


def test_the_newest_evaluation_of_both_decides() -> None:
    """Not an older one, and not one of another recency."""
    older, newest = remembered((OTHER, 0.05, "better")), remembered((OTHER, -0.047, "worse"), number=2)
    found = judged([remembered((NO_RECENCY, 0.05, "better"), number=3), newest, older])
    assert found is not None
    assert (found.evaluation, found.difference.verdict) == ("e2", "worse")
    assert str(found) == (
        "evaluation e2 found this configuration worse beyond noise than the live one: nDCG@10 0.140 [0.130 0.150] "
        "against 0.187 [0.177 0.197], a difference of -0.047 [-0.067 -0.037]"
    )


def test_an_evaluation_whose_baseline_is_the_new_one_is_reversed() -> None:
    """The bounds of the interval change places."""
    found = judged([remembered((LIVE, 0.047, "better"), baseline=OTHER)])
    assert found is not None
    assert found.difference == Difference(-0.047, -0.057, -0.027, "worse")
    assert found.metric.mean == 0.187
    assert found.live.mean == pytest.approx(0.234)


def test_two_that_were_only_compared_with_a_third_are_not_compared() -> None:
    """Their difference is unknown, whatever each differs by from the third."""
    assert judged([remembered((LIVE, 0.05, "better"), (OTHER, -0.05, "worse"), baseline=THIRD)]) is None
    assert judged([remembered((THIRD, -0.05, "worse"))]) is None
    assert judged([]) is None


@pytest.mark.parametrize("figures", [{}, {"format": 2}, {"format": 1, "models": "none"}])
def test_entries_of_another_shape_are_left_out(figures: dict[str, Any]) -> None:
    """Another release may have kept them; and entries of other kinds."""
    good = remembered((OTHER, 0.05, "better"))
    odd = Entry(id="odd", kind="evaluation", outcome="done", started_ms=9, ended_ms=9, figures=figures)
    run = msgspec.structs.replace(remembered((OTHER, -0.05, "worse")), kind="run")
    found = judged([odd, run, good])
    assert found is not None
    assert found.difference.verdict == "better"


def test_worse_are_models_and_not_popularity() -> None:
    """A gate judges what could go live."""
    [(_, value)] = evaluations_in([remembered((OTHER, -0.05, "worse"), ((None, 0.0), -0.05, "worse"))])
    assert value.worse() == [str(OTHER)]


def test_evaluations_are_kept_in_a_folder_of_their_own() -> None:
    assert entry_file(remembered()) == f"evaluations/{0:015d}-e1"
