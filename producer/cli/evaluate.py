"""`reckoner evaluate`: how good the lists of models are, on interactions that they have not seen."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled, without_extra
from reckoner.producer.cli.evaluation_output import print_comparison
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.evaluation.candidates import Candidate
    from reckoner.producer.evaluation.splits import Protocol
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
        typer.Option(
            help="The test part: the last interactions of all by time; the last of each user; or some of each user at "
            "random."
        ),
    ] = "global",
    share: Annotated[float, typer.Option(metavar="X", help="The share of interactions in the test part.")] = 0.2,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="Test on the last N days instead of a share; for global.")
    ] = None,
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
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The seed of the split random.")] = 0,
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
    from reckoner.shared.settings import load_settings

    try:
        from reckoner.producer.evaluation.splits import Protocol
    except ModuleNotFoundError as error:
        raise without_extra(error, "An evaluation") from error
    _require_share(share, days, split)
    protocol = Protocol(
        split=split, share=share, days=days, seed=seed, least_history=least_history, new_items=new_items
    )
    settings = load_settings()

    async def ask() -> bool:
        from reckoner.shared.store.location import open_store
        from reckoner.shared.store.ownership import claim_store

        async with connect(settings) as reckoner:
            store = open_store(settings.store_location)
            await claim_store(reckoner.redis, settings, store)
            asked_live = live or gate or not (models or popular)
            candidates = await _candidates(reckoner, store, models or [], asked_live, gate)
            return await _evaluate(reckoner, store, protocol, candidates, as_json)

    passed = run_async(ask())
    if gate and not passed:
        raise typer.Exit(1)


def _require_share(share: float, days: float | None, split: str) -> None:
    from reckoner.shared.errors import UsageError

    if not 0 < share < 1:
        raise UsageError(f"--share is {share:g}, but must be above 0 and below 1.")
    if days is not None and split != "global":
        raise UsageError(f"--days is for the split global, not for {split}.")
    if days is not None and not 0 < days < 1e6:
        raise UsageError(f"--days is {days:g}, but must be above 0.")


async def _candidates(
    reckoner: "OpenReckoner", store: "Store", given: list[str], live: bool, must_live: bool
) -> "dict[Candidate, bool]":
    """The candidates, each once, and whether it is the live one."""
    from reckoner.producer.evaluation.candidates import Candidate, parse_candidate
    from reckoner.shared.errors import NothingFittedError
    from reckoner.shared.store.fit_options import default_model
    from reckoner.shared.store.models import describe

    found = dict.fromkeys(map(parse_candidate, given), False)
    if live:
        record = (await reckoner.results.generations.follow(reckoner.keys.current)).record
        if record is not None:
            _, config = describe(store.fetch("models", record.model))
            found |= {Candidate(config, record.options.recency or 0.0): True}
        elif must_live:
            raise NothingFittedError
        elif (snapshot := store.current_snapshot()) is not None:
            found.setdefault(Candidate(default_model(store.fetch("snapshots", snapshot)).config), False)
    return found


def _each_once(candidates: "dict[Candidate, bool]", store: "Store", snapshot: str) -> "dict[Candidate, bool]":
    """The candidates with a recency only where it is not the default for the data, so that equal ones are one.

    Raises:
        UsageError: one has a recency, and the data have no times.
    """
    from dataclasses import replace

    from reckoner.shared.store.fit_options import recency_of

    default, found = recency_of(store, snapshot), dict["Candidate", bool]()
    for candidate, is_live in candidates.items():
        recency = recency_of(store, snapshot, candidate.recency)
        same = replace(candidate, recency=None if recency == default else recency)
        found[same] = is_live or found.get(same, False)
    return found


async def _evaluate(
    reckoner: "OpenReckoner", store: "Store", protocol: "Protocol", candidates: "dict[Candidate, bool]", as_json: bool
) -> bool:
    """Evaluate and print; returns whether no candidate is worse than the baseline."""
    import asyncio

    from reckoner.producer.evaluation.comparing import POPULARITY, Row, compare
    from reckoner.producer.evaluation.evaluating import evaluation_of
    from reckoner.producer.evaluation.metrics import popular_lists
    from reckoner.producer.evaluation.splits import hold_out, interactions_of
    from reckoner.shared.errors import NothingImportedError, UsageError
    from reckoner.shared.store.snapshots import open_snapshot

    snapshot_id = store.current_snapshot()
    if snapshot_id is None:
        raise NothingImportedError
    candidates = _each_once(candidates, store, snapshot_id)
    with say_if_cancelled("Stopped. Nothing was left behind."), progress_bar("Splitting the data", "") as bar:
        bar.show("Splitting the data", "", 0, None)
        data = interactions_of(open_snapshot(store.fetch("snapshots", snapshot_id)))
        split = await asyncio.to_thread(hold_out, data, protocol)
        if not split.test.users.size:
            raise UsageError("Nobody is tested: no user has interactions in both parts. Change the split.")
        rows, times = list[Row](), dict[str, dict[str, float]]()
        async with warn_of_outages(reckoner, bar.say), evaluation_of(split, reckoner, store) as evaluation:
            for candidate, is_live in candidates.items():
                scored = await evaluation.score(candidate, bar.show)
                rows.append(Row(candidate.name, candidate.config.facts(), scored.lists, is_live))
                times[candidate.name] = {"fit_s": scored.fit_ms / 1000, "score_s": scored.score_ms / 1000}
        bar.show("Comparing lists", "", 0, None)
        popular = await asyncio.to_thread(popular_lists, split.training, split.test.users)
        rows.append(Row(POPULARITY, None, popular))
        comparison = await asyncio.to_thread(compare, snapshot_id, protocol, split, rows)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(comparison) | {"times": times})
    else:
        print_comparison(comparison, times)
    return not comparison.worse()
