"""Every outcome of a run is explained."""

from typing import get_args

from reckoner.producer.cli.runs import as_facts, verdict
from reckoner.producer.objects import run_object
from reckoner.shared.flows.run_state import Figures, Manifest, Run, RunOutcome

FIGURES = Figures(0.05, None, 0.25, 0.02, 0.01, 900, 1_000, 0.1, 0.08)


def ended(outcome: str) -> Run:
    manifest = Manifest(1000, 990, 10, 2, 2.0, 495.0, ["its worker died 3 times"], {}, FIGURES)
    return Run("r", "ended", "g", "before", 0, 4, 250, 1000, 4, 1_000, 3_000, outcome, manifest)


def test_each_outcome_has_a_sentence_of_its_own() -> None:
    """The sentence begins with the outcome, and says what readers see."""
    outcomes = get_args(RunOutcome)
    sentences = {outcome: verdict(ended(outcome)) for outcome in outcomes}
    assert all(sentence.startswith(outcome.capitalize()) for outcome, sentence in sentences.items())
    assert all("readers" in sentence for sentence in sentences.values())


def test_the_manifest_is_printed() -> None:
    """Users, speed, churn and reasons are printed, and are in the object."""
    facts = dict(as_facts(ended("refused")))
    assert facts["users"] == "990 done, 10 failed; 2 have an empty list"
    assert facts["took"] == "2.0 s, 495 users per second"
    assert facts["churn"] == "25.0% of the places are new"
    assert facts["empty lists"] == "2.0% (live: 1.0%)"
    assert facts["top ten items"] == "10.0% of the places (live: 8.0%)"
    assert facts["different items"] == "900 (live: 1,000)"
    assert "popular list" not in facts, "there was nothing to compare"
    assert facts["reason"] == "its worker died 3 times"
    found = run_object(ended("refused"))
    assert (found["outcome"], found["manifest"]["failed"]) == ("refused", 10)
    assert found["manifest"]["figures"]["churn"] == 0.25
