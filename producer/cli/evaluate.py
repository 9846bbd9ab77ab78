"""`reckoner evaluate`: how good the lists of models are, on interactions that they have not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled, without_extra
from reckoner.producer.cli.evaluation_output import print_evaluation
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.evaluation.candidates import Candidate
    from reckoner.producer.evaluation.evaluating import Evaluated
    from reckoner.shared.store.protocol import Store


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="MODEL", help="A model, as in 'cosine user_norm=1 recency=0.5'. May be repeated."
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Evaluate the live generation's configuration too.")] = False,
    popular: Annotated[
        bool, typer.Option("--popular", help="Evaluate popularity, which is always a row; alone: nothing else.")
    ] = False,
    split: Annotated[
        Literal["global", "last", "random"],
        typer.Option(help="The test part: the last of all by time; the last of each user; or a share of each user's."),
    ] = "global",
    share: Annotated[
        float, typer.Option(metavar="X", help="The share of interactions in the test part.", show_default=True)
    ] = 0.2,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="Test on the last N days instead of a share; for global.")
    ] = None,
    folds: Annotated[
        int, typer.Option(metavar="N", min=1, max=50, help="Average over N splits, each before the next; not for last.")
    ] = 1,
    least_history: Annotated[
        int, typer.Option(metavar="N", min=1, help="Test users with at least N interactions in the training part.")
    ] = 1,
    new_items: Annotated[
        bool | None,
        typer.Option(
            "--new-items/--no-new-items",
            help="Count test interactions with items that nobody had before, as misses; by default not for global.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**31, help="The seed of the split random.")] = 0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts and example users.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit with 1 if a model is worse than the live one beyond noise.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare models by interactions that they have not seen, with 95 % intervals.

    The workers fit each model on the training part, and make the tested
    users' lists. The live generation is not touched; nothing is left behind.
    Without models, the live configuration is compared with popularity.

    Example: reckoner evaluate --model "bm25 neighbours=50" --live
    """
    from reckoner.shared.errors import NothingImportedError, OutputError, UsageError
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import claim_store

    try:
        from reckoner.producer.evaluation.splits import Protocol
    except ModuleNotFoundError as error:
        raise without_extra(error, "An evaluation") from error
    protocol = Protocol(
        split=split,
        share=share,
        days=days,
        seed=seed,
        folds=folds,
        least_history=least_history,
        new_items=new_items,
    )
    protocol.require_valid()
    if gate and not models:
        raise UsageError("--gate judges models beside the live one. Name one with --model.")
    # An evaluation may take long: say it before.
    if html is not None and not html.parent.is_dir():
        raise OutputError(f"The file {html} cannot be written: there is no directory {html.parent}.")
    if html is not None and html.is_dir():
        raise OutputError(f"The file {html} cannot be written: Is a directory.")
    settings = load_settings()
    store = store_of(settings)

    async def ask() -> "Evaluated":
        from reckoner.producer.evaluation.candidates import parse_candidate
        from reckoner.producer.evaluation.evaluating import evaluate as evaluate_candidates

        async with connect(settings) as reckoner:
            await claim_store(reckoner.redis, settings, store)
            snapshot = store.current_snapshot()
            if snapshot is None:
                raise NothingImportedError
            asked_live = live or gate or not (models or popular)
            given = [parse_candidate(model) for model in models or []]
            candidates = await candidates_of(reckoner, store, snapshot, given, live=asked_live, must_live=gate)
            with (
                say_if_cancelled("Stopped. Nothing was left behind."),
                progress_bar("Splitting the interactions", "") as bar,
            ):
                async with warn_of_outages(reckoner, bar.say):
                    return await evaluate_candidates(reckoner, store, snapshot, protocol, candidates, bar.show)

    evaluated = run_async(ask())
    if as_json:
        import msgspec

        took = {name: took._asdict() for name, took in evaluated.took.items()}
        print_json(msgspec.to_builtins(evaluated.evaluation) | {"took": took})
    else:
        print_evaluation(evaluated.evaluation, evaluated.took)
    if html is not None:
        _write_page(html, evaluated, store)
    if gate and evaluated.evaluation.worse():
        raise typer.Exit(1)


async def candidates_of(
    reckoner: "OpenReckoner", store: "Store", snapshot: str, given: "list[Candidate]", *, live: bool, must_live: bool
) -> "dict[Candidate, bool]":
    """The candidates, each once, and whether it is the live one; the live one first.

    Raises:
        UsageError: one has a recency, and the data have no times.
        NothingFittedError: there is no live one.
    """
    asked = await _live(reckoner, store, snapshot, must_live) if live else {}
    return _each_once(asked | {candidate: False for candidate in given if candidate not in asked}, store, snapshot)


async def _live(reckoner: "OpenReckoner", store: "Store", snapshot: str, must: bool) -> "dict[Candidate, bool]":
    """The live generation's configuration; without one, unless it `must` be, what a fit would build."""
    from reckoner.producer.evaluation.candidates import Candidate
    from reckoner.shared.errors import NothingFittedError
    from reckoner.shared.store.fit_options import default_model
    from reckoner.shared.store.models import describe

    record = (await reckoner.results.generations.follow(reckoner.keys.current)).record
    if record is not None:
        _, config = describe(store.fetch("models", record.model))
        return {Candidate(config, record.options.recency or 0.0): True}
    if must:
        raise NothingFittedError
    return {Candidate(default_model(store.fetch("snapshots", snapshot)).config): False}


def _each_once(candidates: "dict[Candidate, bool]", store: "Store", snapshot: str) -> "dict[Candidate, bool]":
    """The candidates by their names, with a recency only where it is not the default for the data.

    Raises:
        UsageError: one has a recency, and the data have no times.
    """
    from dataclasses import replace

    from reckoner.shared.store.fit_options import recency_of

    default, found = recency_of(store, snapshot), dict[str, "tuple[Candidate, bool]"]()
    for candidate, is_live in candidates.items():
        recency = recency_of(store, snapshot, candidate.recency)
        same = replace(candidate, recency=None if recency == default else recency)
        found.setdefault(same.name, (same, is_live))
    return dict(found.values())


def _write_page(file: Path, evaluated: "Evaluated", store: "Store") -> None:
    from reckoner.producer.evaluation.examples import examples_of
    from reckoner.producer.evaluation.page import page_of
    from reckoner.shared.errors import OutputError
    from reckoner.shared.store.snapshots import open_snapshot

    snapshot = open_snapshot(store.fetch("snapshots", evaluated.evaluation.snapshot))
    text = page_of(evaluated.evaluation, examples_of(evaluated.split, evaluated.rows, snapshot))
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"The file {file} cannot be written: {error.strerror}.") from error
