"""The end of a night is printed once, and decides the exit code."""

import json
import re
from typing import get_args

import msgspec
import pytest

from reckoner.producer.cli.night import BEGINNINGS, _print_end
from reckoner.producer.sentences import VERDICTS
from reckoner.shared.flows.nights import Beginning, Night, NightOptions, NightOutcome, Stage
from reckoner.shared.flows.run_state import Figures
from reckoner.shared.serving.history import Entry

FIGURES = msgspec.to_builtins(Figures(0.05, None, 0.5, 0.02, 0.01, 900, 1_000, 0.1, 0.08))


def ended(outcome: NightOutcome) -> Night:
    stages = {"import": Stage("import", 0, 1_500, "done", "3 interactions of 2 users.")}
    return Night("n", "2026-11-30", "command", NightOptions(), 0, 2_000, outcome, 0, 0, stages)  # type: ignore[arg-type]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("outcome", get_args(NightOutcome))
def test_an_outcome_is_said_once(outcome: NightOutcome, as_json: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """With --json on standard error, for people, if it is bad."""
    figures = {"users": 3, "figures": FIGURES}
    entry = Entry(id="n", kind="night", outcome=outcome, started_ms=0, ended_ms=2_000, reasons=["why"], figures=figures)
    code = _print_end(ended(outcome), entry, 99, as_json)
    bad = outcome in ("refused", "failed")
    assert code == (1 if bad else 99 if outcome == "unchanged" else 0)
    shown = capfd.readouterr()
    assert (shown.err == f"{VERDICTS[outcome]}\n") == (bad and as_json)
    assert (VERDICTS[outcome] in shown.out) is not as_json
    if as_json:
        printed = json.loads(shown.out)
        assert (printed["night"], printed["reasons"], printed["figures"]["figures"]) == ("n", ["why"], FIGURES)
    else:
        assert re.search(r"^import +done, 1.5 s: 3 interactions of 2 users.$", shown.out, re.MULTILINE)
        assert re.search(r"^churn +50.0% of the places are new$", shown.out, re.MULTILINE)


def test_each_beginning_has_a_sentence() -> None:
    """It names the night or its date."""
    assert set(BEGINNINGS) == set(get_args(Beginning))
