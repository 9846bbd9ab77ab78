"""An entry of the history is shown with its figures, and each reason once."""

from reckoner.producer.cli.history import _facts
from reckoner.shared.serving.history import Entry

FIGURES = {"users": 2100, "duration_s": 0.19, "reasons": ["too new"], "tasks": {"worker": 3}}
GATE = {"churn": 0.965485, "coverage": 1293, "users_lost": None}


def entry(**fields: object) -> Entry:
    return Entry(id="e", outcome="refused", started_ms=0, ended_ms=1_500, **fields)  # type: ignore[arg-type]


def test_the_figures_of_the_gate_are_shares_and_counts() -> None:
    """What is unknown, and what only machines read, is left out."""
    facts = dict(_facts(entry(kind="run", figures={**FIGURES, "figures": GATE}, reasons=["too new"])))
    assert (facts["took"], facts["reason"]) == ("1.5 s", "too new")
    assert (facts["users"], facts["churn"], facts["coverage"]) == ("2,100", "96.5%", "1,293")
    assert not {"tasks", "worker", "users lost", "duration s"} & set(facts)


def test_the_stages_of_a_night_have_its_reasons() -> None:
    """They are not repeated."""
    stage = {"name": "everybody", "outcome": "refused", "message": "too new."}
    facts = list(_facts(entry(kind="night", stages=[stage], reasons=["everybody: too new."])))
    assert ("everybody", "refused: too new.") in facts
    assert "reason" not in dict(facts)
