"""The finish: what a manifest says, and which runs pass."""

from collections.abc import Mapping

import pytest

from reckoner.shared.flows.run_state import Manifest, Run
from reckoner.shared.wire.shapes import OUTCOME, Outcome
from reckoner.workers.tasks.finish import Tally, passes


def run(users: int) -> Run:
    return Run("r", "finish", "g", "", 0, 3, 2, users, 3, 1_000, None, "", None)


def summarize(run: Run, outcomes: Mapping[int, Outcome], now_ms: int) -> Manifest:
    """The manifest of a run of these blocks, added up page by page and each page twice, as a scan may give them."""
    tally, pairs = Tally(), [(b"%d" % block, OUTCOME.encode(outcome)) for block, outcome in outcomes.items()]
    for start in range(0, len(pairs), 2):
        for _ in range(2):
            tally.add(dict(pairs[start : start + 2]))
    return tally.manifest(run, now_ms)


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


def test_what_is_no_block_counts_for_nothing() -> None:
    """A field that was planted, and an outcome that cannot be read, which counts as failed."""
    tally = Tally()
    tally.add({b"x": OUTCOME.encode(Outcome(3)), b"\xff": b"", b"1": b"\x80bomb", b"0": OUTCOME.encode(Outcome(2))})
    manifest = tally.manifest(run(3), 2_000)
    assert (manifest.done, manifest.failed, manifest.reasons) == (2, 1, ["the outcome of a block is unreadable"])
