"""Sentences about jobs, runs and nights, the same in the commands and on the page."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from reckoner.producer.formats import format_count
from reckoner.shared.flows.run_state import Figures
from reckoner.shared.list_names import KINDS
from reckoner.shared.wire.shapes import (
    BasketSpec,
    BlockSpec,
    EvaluationSpec,
    FitSpec,
    HistorySpec,
    SimilarSpec,
    Spec,
    UserSpec,
)

# How a night ended.
VERDICTS: Final = {
    "live": "Live: readers see the new lists.",
    "unchanged": "Nothing to do: the lists are those of the newest data. Their life was renewed.",
    "held": "Held: a dry run passed the gate. Nothing changes for readers.",
    "refused": "Refused: nothing changes for readers.",
    "failed": "Failed: nothing changes for readers.",
}


def gate_facts(figures: Figures) -> list[tuple[str, str]]:
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


def stage_sentence(outcome: str | None, started_ms: int, ended_ms: int | None, message: str) -> str:
    """How a stage ended, in how many seconds."""
    took = "" if ended_ms is None else f", {(ended_ms - started_ms) / 1000:.1f} s"
    return f"{outcome or 'running'}{took}" + (f": {message}" if message else "")


def figure_facts(figures: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The counts of a run or an import, and what the gate compared."""
    for name, value in figures.items():
        if isinstance(value, int):
            yield name.replace("_", " "), f"{value:,}"
    # Another release may have kept others.
    with suppress(msgspec.ValidationError):
        yield from gate_facts(msgspec.convert(figures.get("figures"), Figures))


def job_in_words(spec: Spec, block: int | None) -> str:
    """A job's request in words."""
    match spec:
        case UserSpec():
            return f"the list of user {spec.user}"
        case BasketSpec():
            return f"the list for a basket of {format_count(len(spec.items), 'item')}"
        case BlockSpec():
            return f"block {'?' if block is None else f'{block:,}'} of run {spec.run}"
        case FitSpec():
            parameters = {"shrink": spec.shrink} | spec.parameters
            listed = ", ".join(f"{name} {value:g}" for name, value in parameters.items())
            return f"a model: {spec.similarity}, {format_count(spec.neighbours, 'neighbour')}, {listed}"
        case EvaluationSpec():
            return f"the lists of an evaluation of model {spec.model}"
        case SimilarSpec(other=None):
            return f"the neighbours of item {spec.item}"
        case SimilarSpec():
            return f"the similarity of items {spec.item} and {spec.other}"
        case HistorySpec():
            return f"the history of user {spec.user}"


def list_called(name: str) -> str:
    """A list that is the same for all users, in a sentence."""
    return f"the {name} list" if name in KINDS else f"the list {name}"
