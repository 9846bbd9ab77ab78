"""Remembered evaluations: the newest of a model beside the live one is found, whatever else is there."""

from typing import Any

import msgspec
import pytest

from reckoner.shared.serving.evaluations import (
    MAIN_METRIC,
    Difference,
    Evaluation,
    Metric,
    ModelReport,
    Verdict,
    newest_report,
)
from reckoner.shared.serving.history import ENTRY, Entry, entry_file

LIVE = {"similarity": "cosine"}
SLIM = {"similarity": "slim"}


def report(config: dict[str, Any] | None, verdict: Verdict | None, recency: float = 0.25) -> ModelReport:
    difference = None if verdict is None else Difference(0.0, 0.0, 0.0, verdict)
    name = "popularity" if config is None else f"{config['similarity']} recency={recency:g}"
    return ModelReport(name, config, recency, verdict is None, {MAIN_METRIC: Metric(0.1, 0.0, 0.2, difference)}, {})


def evaluation(*reports: ModelReport) -> Evaluation:
    return Evaluation(
        snapshot="s", protocol="In words.", split={}, baseline=reports[0].name, counts={}, models=list(reports),
        without_history={},
    )  # fmt: skip


def remembered(number: int, value: Evaluation) -> Entry:
    """As it comes back from Redis."""
    figures = msgspec.to_builtins(value)
    entry = Entry(
        id=f"e{number}", kind="evaluation", outcome="done", started_ms=number, ended_ms=number, figures=figures
    )
    return ENTRY.decode(ENTRY.encode(entry))


def test_the_newest_report_of_a_model_is_found() -> None:
    """Beside the live model only, and with the same recency."""
    entries = [
        remembered(4, evaluation(report(SLIM, None))),
        remembered(3, evaluation(report(LIVE, None), report(SLIM, "worse", recency=0.5), report(None, "worse"))),
        remembered(2, evaluation(report(LIVE, None), report(SLIM, "better"))),
        remembered(1, evaluation(report(LIVE, None), report(SLIM, "within noise"))),
    ]
    now = (LIVE, 0.25)
    for wanted, verdict in (((SLIM, 0.25), "better"), ((SLIM, 0.5), "worse"), ((LIVE, 0.25), None)):
        found = newest_report(entries, wanted, now)
        assert found is not None
        assert found.verdict == verdict
    assert newest_report(entries, (SLIM, 0.0), now) is None
    assert newest_report(entries, (SLIM, 0.25), (LIVE, 0.0)) is None


@pytest.mark.parametrize("figures", [{}, {"format": 2}, {"format": 1, "models": "none"}])
def test_entries_of_another_shape_are_left_out(figures: dict[str, Any]) -> None:
    """Another release may have kept them; and entries of other kinds."""
    odd = Entry(id="odd", kind="evaluation", outcome="done", started_ms=9, ended_ms=9, figures=figures)
    run = msgspec.structs.replace(remembered(8, evaluation(report(LIVE, None), report(SLIM, "worse"))), kind="run")
    good = remembered(1, evaluation(report(LIVE, None), report(SLIM, "better")))
    found = newest_report([odd, run, good], (SLIM, 0.25), (LIVE, 0.25))
    assert found is not None
    assert found.verdict == "better"


def test_worse_are_models_and_not_popularity() -> None:
    """A gate judges what could go live."""
    value = evaluation(report(LIVE, None), report(SLIM, "worse"), report(None, "worse"))
    assert value.worse() == ["slim recency=0.25"]


def test_evaluations_are_kept_in_a_folder_of_their_own() -> None:
    assert entry_file(remembered(7, evaluation(report(LIVE, None)))) == f"evaluations/{7:015d}-e7"
