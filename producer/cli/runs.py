"""Prints a run, for `batch` and `job`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reckoner.shared.flows.run_state import Figures, Run


def as_object(run: "Run") -> dict[str, Any]:
    """The JSON object for a run."""
    import msgspec

    return {
        "run": run.id,
        "kind": "run",
        "state": run.state,
        "outcome": run.outcome or None,
        "generation": run.generation,
        "blocks": run.blocks,
        "block_size": run.block_size,
        "created_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "manifest": None if run.manifest is None else msgspec.to_builtins(run.manifest),
    }


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


def gate_facts(figures: "Figures") -> list[tuple[str, str]]:
    """What a sample of the lists showed, next to the lists that were live."""
    shares = [
        ("churn", figures.churn, "of the places are new", None),
        ("users lost", figures.users_lost, "of the live generation's users are missing", None),
        ("popular list", figures.popular, "of the users with a list would get it", None),
        ("empty lists", figures.empty, "", figures.empty_before),
        ("top ten items", figures.concentration, "of the places", figures.concentration_before),
    ]
    facts = [
        (name, " ".join(filter(None, (f"{share:.1%}", what, "" if before is None else f"(live: {before:.1%})"))))
        for name, share, what, before in shares
        if share is not None
    ]
    if figures.coverage is not None and figures.coverage_before is not None:
        facts.append(("different items", f"{figures.coverage:,} (live: {figures.coverage_before:,})"))
    return facts
