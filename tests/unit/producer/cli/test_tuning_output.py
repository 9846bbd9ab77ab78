"""The last lines of a tuning say what the test part says of the best trial."""

import pytest

from reckoner.producer.cli.tuning_output import print_tuning
from reckoner.producer.evaluation.comparing import POPULARITY
from reckoner.producer.evaluation.evaluating import Evaluated
from reckoner.producer.evaluation.judging import Round
from reckoner.producer.evaluation.metrics import OF_LISTS, PER_USER, RECALL
from reckoner.producer.evaluation.tuning import TrialReport, Tuned, Tuning
from reckoner.shared.serving.evaluations import Difference, Evaluation, Metric, ModelReport, Verdict

COMMAND = "reckoner fit --similarity slim --l2 5"
COUNTS = dict.fromkeys(["users", "training_users", "training_items", "training_interactions", "test_interactions"], 300)


def report(name: str, recall: float, verdict: Verdict | None) -> ModelReport:
    """A model whose other metrics stand still."""
    difference = None if verdict is None else Difference(0.0, 0.0, 0.0, verdict)
    figures = {metric: Metric(0.1, 0.1, 0.1, difference and Difference(0, 0, 0, "within noise")) for metric in PER_USER}
    figures[RECALL] = Metric(recall, recall, recall, difference)
    return ModelReport(name, None, 0.0, name == "slim", figures, dict.fromkeys(OF_LISTS, 0.0))


def tuned(best: str, models: list[ModelReport], *, failed: dict[str, str], users: int = 300) -> Tuned:
    """A tuning by recall, in which `best` was the best."""
    trial = TrialReport(best, {}, None, best == "slim", users, Metric(0.1, 0.1, 0.1))
    tuning = Tuning(
        snapshot="s", split={}, metric=RECALL, seed=0, counts=COUNTS | {"users": users}, rounds=[Round(1, users)],
        stopped_early=True, trials=[trial], failed=failed, command=COMMAND,
    )  # fmt: skip
    evaluation = Evaluation(
        snapshot="s", protocol="", split={}, baseline="slim", counts=COUNTS, models=models, without_history={}
    )
    return Tuned(tuning, Evaluated(evaluation, None, [], {}), {best: 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("better", "It is better than slim on the test part."),
        ("worse", "It is worse than slim on the test part: keep that one."),
        ("within noise", "On the test part it is within noise of slim: a change may gain nothing."),
    ],
)
def test_the_best_trial_is_compared_by_the_tunings_metric(
    verdict: Verdict, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is the command."""
    models = [report("slim", 0.2, None), report("slim l2=5", 0.3, verdict), report(POPULARITY, 0.1, "worse")]
    print_tuning(tuned("slim l2=5", models, failed={"slim l2=1": "Its worker died 3 times."}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [sentence, COMMAND]
    assert "Trial failed: slim l2=1. Its worker died 3 times." in lines
    assert "Rounds: 1 trial by 300 users. Then nothing was left to gain." in lines
    assert not any("so few users" in line for line in lines)


def test_the_live_model_may_be_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    """Few users are said to be few."""
    models = [report("slim", 0.2, None), report(POPULARITY, 0.1, "worse")]
    print_tuning(tuned("slim", models, failed={}, users=23))
    out = capsys.readouterr().out
    assert "No trial was better than slim, which is live." in out
    assert "With so few users, nearly everything is within noise." in out


def test_popularity_may_be_as_good(capsys: pytest.CaptureFixture[str]) -> None:
    """Then no model of similar items is worth much."""
    models = [report("slim", 0.2, None), report("slim l2=5", 0.3, "better"), report(POPULARITY, 0.3, "better")]
    print_tuning(tuned("slim l2=5", models, failed={}))
    assert "Popularity is as good on the test part" in capsys.readouterr().out
