"""The finish: what a manifest says, which runs pass, and who has left the data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identifiers import build
from shared.runs import Run
from shared.wire import Outcome
from workers.tasks.finish import gone_users, passes, summarize


def run(users: int) -> Run:
    return Run("r", "finish", "g", "", 0, 3, 2, users, 3, 1_000, None, "", None)


def test_a_manifest_adds_up_what_the_blocks_did() -> None:
    """Users done and empty, the time, who did the chunk tasks, and the share of places that are new."""
    outcomes = {0: Outcome(2, 1, 10, 3, tasks={"b": 3, "a": 1}), 1: Outcome(2, 0, 10, 2, tasks={"b": 4}), 2: Outcome(1)}
    manifest = summarize(run(5), outcomes, 3_500)
    assert (manifest.users, manifest.done, manifest.failed, manifest.empty) == (5, 5, 0, 1)
    assert manifest.tasks == {"a": 1, "b": 7}
    assert (manifest.duration_s, manifest.users_per_second, manifest.churn) == (2.5, 2.0, 0.25)
    assert passes(manifest)


def test_whoever_is_not_done_has_failed() -> None:
    """A failed block, a cancelled one and one that is not known count alike, and the run does not pass."""
    manifest = summarize(run(5), {0: Outcome(2), 1: Outcome(reason="why"), 7: Outcome(reason="why")}, 2_000)
    assert (manifest.done, manifest.failed, manifest.reasons) == (2, 3, ["why"])
    assert not passes(manifest)


def test_a_run_that_did_too_much_does_not_pass() -> None:
    """More users done than there are is bookkeeping that nobody can trust."""
    assert not passes(summarize(run(2), {0: Outcome(2), 1: Outcome(1)}, 2_000))


def test_without_lists_before_there_is_no_churn() -> None:
    """The first run has nothing to be compared with; one that changed nothing has a churn of 0."""
    assert summarize(run(1), {0: Outcome(1)}, 2_000).churn is None
    assert summarize(run(1), {0: Outcome(1, 0, 10, 0)}, 2_000).churn == 0.0


def test_a_clock_that_went_back_is_no_division_by_zero() -> None:
    """The shortest duration is a millisecond."""
    assert summarize(run(1), {0: Outcome(1)}, 0).duration_s == 0.001


@pytest.mark.parametrize("count", [7, 1_000])
def test_a_manifest_tells_a_few_reasons_only(count: int) -> None:
    """A run of which every block fails for a reason of its own has a manifest that can be read."""
    outcomes = {block: Outcome(reason=f"reason {block:04}") for block in range(count)}
    assert summarize(run(count), outcomes, 2_000).reasons == [f"reason {block:04}" for block in range(5)]


@given(
    st.sets(st.text(st.characters(codec="utf-8"), min_size=1)),
    st.sets(st.text(st.characters(codec="utf-8"), min_size=1)),
)
def test_gone_users_are_those_of_before_who_are_not_in_after(before: set[str], after: set[str]) -> None:
    """As sets would tell it, in the order of the table."""
    tables = [build(sorted(users, key=str.encode)) for users in (before, after)]
    assert list(gone_users(*tables)) == sorted(before - after, key=str.encode)
