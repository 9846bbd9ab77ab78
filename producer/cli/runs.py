"""Prints a run, for `batch` and `job`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reckoner.shared.flows.run_state import Run


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
        case "refused":
            return "Refused: not every user is done, so readers keep the previous lists."
        case "superseded":
            return "Superseded: another generation went live during this run, so readers keep that one."
        case _:
            return "Failed: the run could not be finished, so readers keep the previous lists."


def as_facts(run: "Run") -> list[tuple[str, str]]:
    """The printed facts of a run."""
    facts = [("run", run.id), ("generation", run.generation), ("outcome", run.outcome or "not ended yet")]
    manifest = run.manifest
    if manifest is None:
        return facts
    churn = (
        "no earlier lists to compare with" if manifest.churn is None else f"{manifest.churn:.1%} of the places are new"
    )
    facts += [
        ("users", f"{manifest.done:,} done, {manifest.failed:,} failed; {manifest.empty:,} have an empty list"),
        ("took", f"{manifest.duration_s:.1f} s, {manifest.users_per_second:,.0f} users per second"),
        ("churn", churn),
    ]
    return facts + [("reason", reason) for reason in manifest.reasons]
