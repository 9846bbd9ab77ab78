"""Prints a run, for `batch` and `job`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reckoner.shared.flows.run_state import Run


def verdict(run: "Run") -> str:
    """The outcome of an ended run as a sentence."""
    match run.outcome:
        case "passed":
            return "Passed: readers see this generation."
        case "held":
            return "Held: passed the gate of a dry run. Nothing changes for readers."
        case "refused":
            failed = run.manifest and run.manifest.failed
            why = "not every user is done" if failed else "the gate did not let it pass"
            return f"Refused: {why}, so nothing changes for readers."
        case "superseded":
            return "Superseded: another generation went live during this run, so readers keep that one."
        case _:
            return "Failed: the run could not be finished. Nothing changes for readers."


def as_facts(run: "Run") -> list[tuple[str, str]]:
    """The printed facts of a run."""

    from reckoner.producer.sentences import gate_facts

    facts = [("run", run.id), ("generation", run.generation), ("outcome", run.outcome or "not ended yet")]
    manifest = run.manifest
    if manifest is None:
        return facts
    facts += [
        ("users", f"{manifest.done:,} done, {manifest.failed:,} failed; {manifest.empty:,} have an empty list"),
        ("took", f"{manifest.duration_s:.1f} s, {manifest.users_per_second:,.0f} users per second"),
        *(gate_facts(manifest.figures) if manifest.figures else [("gate", "no earlier lists to compare with")]),
    ]
    facts += [("evaluation", manifest.evaluation)] if manifest.evaluation else []
    return facts + [("reason", reason) for reason in manifest.reasons]
