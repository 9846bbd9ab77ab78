"""The finish: manifests, and which runs are whole."""

from collections.abc import Mapping

import pytest

from reckoner.shared.flows.run_state import Manifest, Run
from reckoner.shared.wire.shapes import OUTCOME, Outcome
from reckoner.workers.tasks.finish import Tally, is_whole


def run(users: int) -> Run:
    return Run("r", "finish", "g", "", 0, 3, 2, users, 3, 1_000, None, "", None)


def summarize(run: Run, outcomes: Mapping[int, Outcome], now_ms: int) -> Manifest:
    """The manifest of a run of these blocks. Each page is added twice, as a scan may repeat it."""
    tally, pairs = Tally(), [(b"%d" % block, OUTCOME.encode(outcome)) for block, outcome in outcomes.items()]
    for start in range(0, len(pairs), 2):
        for _ in range(2):
            tally.add(dict(pairs[start : start + 2]))
    return tally.manifest(run, now_ms)


def test_a_manifest_adds_up_what_the_blocks_did() -> None:
    """Done and empty users, the duration, and the tasks of each worker."""
    outcomes = {0: Outcome(2, 1, tasks={"b": 3, "a": 1}), 1: Outcome(2, 0, tasks={"b": 4}), 2: Outcome(1)}
    manifest = summarize(run(5), outcomes, 3_500)
    assert (manifest.users, manifest.done, manifest.failed, manifest.empty) == (5, 5, 0, 1)
    assert manifest.tasks == {"a": 1, "b": 7}
    assert (manifest.duration_s, manifest.users_per_second) == (2.5, 2.0)
    assert is_whole(manifest)


def test_every_other_user_has_failed() -> None:
    """Failed, cancelled and unknown blocks count as failed, so the run is not whole."""
    manifest = summarize(run(5), {0: Outcome(2), 1: Outcome(reason="why"), 7: Outcome(reason="why")}, 2_000)
    assert (manifest.done, manifest.failed, manifest.reasons) == (2, 3, ["why"])
    assert not is_whole(manifest)


def test_a_run_that_did_too_much_is_not_whole() -> None:
    """More done users than users means broken bookkeeping."""
    assert not is_whole(summarize(run(2), {0: Outcome(2), 1: Outcome(1)}, 2_000))


def test_a_clock_that_went_back_is_no_division_by_zero() -> None:
    """The shortest duration is a millisecond."""
    assert summarize(run(1), {0: Outcome(1)}, 0).duration_s == 0.001


@pytest.mark.parametrize("count", [7, 1_000])
def test_a_manifest_tells_a_few_reasons_only(count: int) -> None:
    """With a different reason for each block, the manifest stays readable."""
    outcomes = {block: Outcome(reason=f"reason {block:04}") for block in range(count)}
    assert summarize(run(count), outcomes, 2_000).reasons == [f"reason {block:04}" for block in range(5)]


def test_foreign_fields_are_ignored() -> None:
    """A foreign field is ignored; an unreadable outcome counts as failed."""
    tally = Tally()
    tally.add({b"x": OUTCOME.encode(Outcome(3)), b"\xff": b"", b"1": b"\x80bomb", b"0": OUTCOME.encode(Outcome(2))})
    manifest = tally.manifest(run(3), 2_000)
    assert (manifest.done, manifest.failed, manifest.reasons) == (2, 1, ["the outcome of a block is unreadable"])
