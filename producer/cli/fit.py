"""`reckoner fit`: has the workers build a model."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.edge import complete, connect, going_on
from reckoner.producer.cli.output import print_facts, print_json, print_line, progress_bar
from reckoner.producer.cli.users import AsJson
from reckoner.producer.cli.work import minding_workers

if TYPE_CHECKING:
    from reckoner.producer.client.answers import JobReport
    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.shared.store.model_config import ModelConfig


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fit)


def fit(
    similarity: Annotated[
        Literal["cosine", "jaccard", "dice", "asymmetric", "bm25", "tfidf", "llr", "rp3beta"],
        typer.Option(help="The formula by which items are similar."),
    ] = "cosine",
    neighbours: Annotated[
        int, typer.Option(metavar="K", min=1, help="How many similar items are kept for each item.")
    ] = 100,
    shrink: Annotated[
        float,
        typer.Option(
            metavar="X", min=0, help="Added to the denominator, against chance: not for bm25, llr and rp3beta."
        ),
    ] = 0.0,
    power: Annotated[float, typer.Option(metavar="X", help="Raise similarities to this power.")] = 1.0,
    user_norm: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            help="Let a user of n items count n to the power of -X: cosine, jaccard, dice and asymmetric.",
        ),
    ] = 0.0,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, help="The row's share in asymmetric (0.5: the cosine), or rp3beta's exponent (1)."
        ),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="How much rp3beta takes from popular items (0.6).")
    ] = None,
    k1: Annotated[float | None, typer.Option(metavar="X", min=0, help="K1 of bm25 (1.2).")] = None,
    b: Annotated[float | None, typer.Option(metavar="X", min=0, max=1, help="B of bm25 (0.75).")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job, and do not wait for its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a model of the current snapshot on the workers.

    The first model goes live at once. A later one does when a batch has computed everybody's list with it.

    Example: reckoner fit --similarity bm25 --neighbours 50
    """
    from reckoner.shared.errors import NothingImportedError
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store
    from reckoner.shared.store.ownership import claim_store

    settings = load_settings()
    given = {"alpha": alpha, "beta": beta, "k1": k1, "b": b}
    config = _configuration(
        similarity=similarity,
        neighbours=neighbours,
        shrink=shrink,
        power=power,
        user_norm=user_norm,
        **{name: value for name, value in given.items() if value is not None},
    )

    async def ask() -> None:
        # Redis first: where it is away that is the sentence to read.
        async with connect(settings) as reckoner:
            store = open_store(settings.store_location)
            await claim_store(reckoner.redis, settings, store)
            snapshot = store.current_snapshot()
            if snapshot is None:
                raise NothingImportedError
            job, model = await reckoner.operator.fit(snapshot, config, settings.list_length)
            if not no_wait:
                report = await _wait(reckoner, job)
                await _print_end(reckoner, report, model, snapshot, as_json)
            elif as_json:
                print_json({"job": job, "model": model, "snapshot": snapshot})
            else:
                print_line(f"Job {job} builds model {model}; `reckoner job {job}` shows how far it is.")

    complete(ask())


def _configuration(**wanted: str | float) -> "ModelConfig":
    import msgspec

    from reckoner.shared.errors import UsageError
    from reckoner.shared.store.model_config import ModelConfig

    try:
        return msgspec.convert(wanted, ModelConfig)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        # What is wrong with several together names them itself.
        option = f"--{where.rstrip('`')} cannot be used: ".replace("_", "-") if where else ""
        raise UsageError(f"{option}{reason}.") from error


async def _wait(reckoner: "Reckoner", job: str) -> "JobReport":
    with (
        going_on(f"Stopped waiting; the job goes on, and `reckoner job {job}` shows how far it is."),
        progress_bar("Building the model", "chunk tasks") as bar,
    ):
        async with minding_workers(reckoner, bar.say):
            async for report in reckoner.follow(job):
                bar.update(report.tasks_done, report.flow.tasks or None)
    return report


async def _print_end(reckoner: "Reckoner", report: "JobReport", model: str, snapshot: str, as_json: bool) -> None:
    from reckoner.producer.client.asking import no_good_end

    flow = report.flow
    if flow.state != "done":
        raise no_good_end("The fit", flow)
    generation, current = flow.answer.decode(errors="replace"), await reckoner.results.generations.current()
    duration_s = ((flow.ended_ms or flow.created_ms) - flow.created_ms) / 1000
    end = {
        "job": flow.id,
        "model": model,
        "snapshot": snapshot,
        "generation": generation,
        "is_current": generation == current,
        "chunk_tasks": flow.tasks,
        "duration_s": duration_s,
    }
    if as_json:
        print_json(end)
        return
    live = "live: lists are computed with it from now on"
    later = f"not live yet: `reckoner batch` computes everybody's list with it (live is {current})"
    print_facts(
        [
            ("model", model if flow.tasks else f"{model} (it was there already)"),
            ("snapshot", snapshot),
            ("generation", f"{generation}, {live if generation == current else later}"),
            ("took", f"{duration_s:.1f} s, {flow.tasks} chunk tasks"),
        ]
    )
