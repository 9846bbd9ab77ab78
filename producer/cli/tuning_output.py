"""Prints a tuning: its trials, the best one's command, and the test part."""

from typing import TYPE_CHECKING

from reckoner.producer.cli.evaluation_output import NAMES, format_difference, format_metric, print_evaluation
from reckoner.producer.cli.output import print_line, print_table
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.evaluation.tuning import TrialReport, Tuned

FEW_USERS = 200

_VERDICTS = {
    "better": "It is better than {} on the test part.",
    "worse": "It is worse than {} on the test part: keep that one.",
    "within noise": "On the test part it is within noise of {}: a change may gain nothing.",
}


def print_tuning(tuned: "Tuned") -> None:
    """Print a tuning."""
    tuning, test = tuned.tuning, tuned.test.evaluation
    counts, name = tuning.counts, NAMES[tuning.metric]
    fitted, users = format_count(counts["training_interactions"], "interaction"), format_count(counts["users"], "user")
    print_line(
        f"Validation part: split off the test part's training part in the same way. Trials were fitted on {fitted} "
        f"and judged by at most {users}."
    )
    if counts["users"] < FEW_USERS:
        print_line(
            "With so few users, nearly everything is within noise. A larger --share, or more data, has more users."
        )
    rounds = [f"{format_count(each.trials, 'trial')} by {format_count(each.users, 'user')}" for each in tuning.rounds]
    end = ". Then nothing was left to gain." if tuning.stopped_early else "."
    print_line(f"Rounds: {', '.join(rounds)}{end}")
    print_line("")
    columns = ["trial", name, "users", "against the best", "fit"]
    rows = [_cells(trial, tuned.fit_s[trial.name]) for trial in tuning.trials]
    print_table(columns, rows, numbers=[name, "users", "fit"], whole=["trial"])
    for trial, reason in tuning.failed.items():
        print_line(f"Trial failed: {trial}. {reason}")
    print_line("")
    print_line("The test part, which no trial has seen.")
    print_evaluation(test, tuned.test.took)
    print_line("")
    print_line(_verdict(tuned))
    print_line(tuning.command)


def _verdict(tuned: "Tuned") -> str:
    """What the test part says of the best trial, by the metric of the tuning."""
    from reckoner.producer.evaluation.comparing import POPULARITY

    best, test, metric = tuned.tuning.trials[0], tuned.test.evaluation, tuned.tuning.metric
    models = {model.name: model.metrics[metric] for model in test.models}
    if models[POPULARITY].mean >= models[best.name].mean:
        return "Popularity is as good on the test part: similar items help little with these data."
    difference = models[best.name].difference
    if difference is None:
        return f"No trial was better than {best.name}, which {'is live' if best.is_live else 'is the default'}."
    return _VERDICTS[difference.verdict].format(test.baseline)


def _cells(trial: "TrialReport", fit_s: float) -> list[str]:
    name = f"{trial.name} (live)" if trial.is_live else trial.name
    difference = trial.metric.difference
    beside = format_difference(difference) if difference else "-"
    return [name, format_metric(trial.metric), f"{trial.users:,}", beside, f"{fit_s:.1f} s"]
