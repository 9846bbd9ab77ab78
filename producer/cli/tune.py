"""`reckoner tune`: finds the parameters of a model whose lists are best, on interactions that it has not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled, without_extra
from reckoner.producer.cli.evaluate import candidates_of
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_json, progress_bar
from reckoner.producer.cli.tuning_output import print_tuning

if TYPE_CHECKING:
    from reckoner.producer.evaluation.candidates import Candidate
    from reckoner.producer.evaluation.tuning import Tuned
    from reckoner.shared.store.protocol import Store

Family = Literal["slim", "neighbours", "all"]


def tune(
    space: Annotated[
        Path | None,
        typer.Argument(help="A TOML file with a table for each similarity; by default a space of --family."),
    ] = None,
    family: Annotated[
        Family | None,
        typer.Option(
            help="The built-in space to search: slim, unless a fit takes over ten minutes of a core; else neighbours."
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Try N models, besides the live or default one.")
    ] = 30,
    metric: Annotated[Literal["ndcg", "recall", "hit"], typer.Option(help="The metric to judge by.")] = "ndcg",
    split: Annotated[
        Literal["global", "last", "random"],
        typer.Option(help="The test part: the last of all by time; the last of each user; or a share of each user's."),
    ] = "global",
    share: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="The share of interactions in the test part, and of the rest in the validation part.",
            show_default=True,
        ),
    ] = 0.2,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="Parts of N days each instead of a share; for global.")
    ] = None,
    least_history: Annotated[
        int, typer.Option(metavar="N", min=1, help="Test users with at least N interactions in the training part.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**31, help="The seed of the trials, the users and the split random.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Find the best parameters of models, by interactions before the test part.

    The workers fit and judge the trials, the best ones by more users. The
    best one is compared with the live or default one on the test part, once.
    The live generation is not touched. Run again to go on after Ctrl-C.

    Example: reckoner tune --family slim --trials 20
    """
    from reckoner.shared.errors import NothingImportedError, UsageError
    from reckoner.shared.settings import load_settings

    try:
        from reckoner.producer.evaluation import metrics
        from reckoner.producer.evaluation.splits import Protocol
    except ModuleNotFoundError as error:
        raise without_extra(error, "Tuning") from error
    protocol = Protocol(split=split, share=share, days=days, seed=seed, least_history=least_history)
    protocol.require_valid()
    if space is not None and family is not None:
        raise UsageError("Name a file with a space, or a --family, not both.")
    name = {"ndcg": metrics.NDCG, "recall": metrics.RECALL, "hit": metrics.HIT}[metric]
    settings = load_settings()

    async def ask() -> "Tuned":
        from reckoner.producer.evaluation.tuning import tune as tune_candidates
        from reckoner.shared.store.location import store_of
        from reckoner.shared.store.ownership import claim_store

        async with connect(settings) as reckoner:
            store = store_of(settings)
            await claim_store(reckoner.redis, settings, store)
            snapshot = store.current_snapshot()
            if snapshot is None:
                raise NothingImportedError
            drawn = _draw(store, snapshot, space, family, trials, seed)
            candidates = await candidates_of(reckoner, store, snapshot, drawn, live=True, must_live=False)
            with (
                say_if_cancelled("Stopped. Finished trials are kept for a week: the same command goes on with them."),
                progress_bar("Splitting the interactions", "") as bar,
            ):
                async with warn_of_outages(reckoner, bar.say):
                    return await tune_candidates(
                        *(reckoner, store, snapshot, protocol, candidates),
                        metric=name,
                        seed=seed,
                        progress=bar.show,
                    )

    tuned = run_async(ask())
    if as_json:
        import msgspec

        took = {name: took._asdict() for name, took in tuned.test.took.items()}
        found = msgspec.to_builtins(tuned.tuning) | {"test": msgspec.to_builtins(tuned.test.evaluation)}
        print_json(found | {"took": {"trials": tuned.fit_s, "test": took}})
    else:
        print_tuning(tuned)


def _draw(
    store: "Store", snapshot: str, file: Path | None, family: Family | None, trials: int, seed: int
) -> "list[Candidate]":
    """The trials of a file or a family.

    Raises:
        UsageError: the file is invalid.
    """
    from reckoner.producer.evaluation.spaces import built_in, draw, read_space
    from reckoner.shared.store.fit_options import default_model, recency_of

    if file is not None:
        return draw(read_space(file), trials, seed)
    if family is None:
        default = default_model(store.fetch("snapshots", snapshot)).config
        family = "slim" if default.similarity == "slim" else "neighbours"
    space, turns = built_in(family, with_times=recency_of(store, snapshot) > 0)
    return draw(space, trials, seed, turns)
