"""An entry of the history is shown with its figures, and each reason once."""

import msgspec
import pytest

from reckoner.producer.cli.history import _facts, _row
from reckoner.producer.sentences import figure_facts
from reckoner.shared.flows.run_state import Figures
from reckoner.shared.serving.history import Entry

FIGURES = {"users": 2100, "duration_s": 0.19, "reasons": ["too new"], "tasks": {"worker": 3}}
GATE = msgspec.to_builtins(Figures(None, 0.0, 0.965485, 0.02, 0.01, 1293, 1300, 0.2, 0.1))


def entry(**fields: object) -> Entry:
    return Entry(id="e", outcome="refused", started_ms=0, ended_ms=1_500, **fields)  # type: ignore[arg-type]


def test_the_figures_of_the_gate_are_shares_and_counts() -> None:
    """What is unknown, and what only machines read, is left out."""
    facts = dict(_facts(entry(kind="run", figures={**FIGURES, "figures": GATE}, reasons=["too new"])))
    assert (facts["took"], facts["reason"]) == ("1.5 s", "too new")
    assert (facts["users"], facts["churn"]) == ("2,100", "96.5% of the places are new")
    assert facts["different items"] == "1,293 (live: 1,300)"
    assert not {"tasks", "worker", "users lost", "duration s"} & set(facts)


def test_figures_of_another_release_are_left_out() -> None:
    """The counts are shown all the same."""
    assert list(figure_facts({"users": 3, "figures": {"novelty": 0.5}})) == [("users", "3")]


@pytest.mark.parametrize("figures", [{"users": "x"}, {"users": None, "figures": [1]}, {"figures": {"churn": "much"}}])
def test_planted_figures_are_not_printed(figures: dict[str, object]) -> None:
    """The rest of the entry is."""
    planted = entry(kind="run", figures=figures)
    assert _row(planted)[4:] == ("refused", "", "")
    assert ("took", "1.5 s") in list(_facts(planted))


def test_the_stages_of_a_night_have_its_reasons() -> None:
    """They are not repeated."""
    stage = {"name": "everybody", "started_ms": 0, "ended_ms": 1_500, "outcome": "refused", "message": "too new."}
    facts = list(_facts(entry(kind="night", stages=[stage], reasons=["everybody: too new."])))
    assert ("everybody", "refused, 1.5 s: too new.") in facts
    assert "reason" not in dict(facts)
