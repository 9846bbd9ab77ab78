"""`reckoner fit`: builds a model on the workers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_facts, print_json, print_result, progress_bar, say
from reckoner.shared.defaults import MAX_CANDIDATES, MAX_RECENCY, RECENCY

if TYPE_CHECKING:
    from reckoner.producer.client.answers import JobReport
    from reckoner.producer.client.open import OpenReckoner

R = TypeVar("R")


def fit(
    similarity: Annotated[
        Literal["cosine", "jaccard", "dice", "asymmetric", "bm25", "tfidf", "llr", "rp3beta", "slim"] | None,
        typer.Option(
            help="The kind of model: slim, unless that takes over ten minutes of a core or there are fewer than 1,000 "
            "interactions; else cosine with a user norm of 1."
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Similar items to keep for each item; of slim, that explain it (100)."),
    ] = None,
    shrink: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, help="Added to the denominator to damp small counts; not for bm25, llr, rp3beta, slim."
        ),
    ] = None,
    power: Annotated[
        float | None, typer.Option(metavar="X", help="Raise similarities to this power; not for slim.")
    ] = None,
    user_norm: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="Weight a user with n items by n to the power of -X; for cosine, jaccard, dice, asymmetric (0), "
            "slim (0.5).",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0, help="The row's share in asymmetric (0.5: the cosine), or rp3beta's exponent (0.5)."
        ),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="rp3beta's penalty on popular items (0.6).")
    ] = None,
    k1: Annotated[float | None, typer.Option(metavar="X", min=0, help="K1 of bm25 (0.5).")] = None,
    b: Annotated[float | None, typer.Option(metavar="X", min=0, max=1, help="B of bm25 (0.75).")] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="M", min=1, max=MAX_CANDIDATES, help="How many items slim tries to explain each item by (200)."
        ),
    ] = None,
    l1: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="What slim takes from each sum: small ones vanish (1).")
    ] = None,
    l2: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Slim's penalty on large values, in users (20).")
    ] = None,
    l2_share: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="The same, as a share of the item's own users (1).")
    ] = None,
    recency: Annotated[
        float | None,
        typer.Option(
            metavar="GAMMA",
            min=0,
            max=MAX_RECENCY,
            help=f"An item of a history weighs (1 + n) to the power of -GAMMA, n being the number of the user's later "
            f"items. By default {RECENCY} if the data have times, else 0: all weigh alike.",
        ),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job's id without waiting for its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a model of the current snapshot on the workers.

    Without options it is the kind of model that was best on all data tried.

    The first model goes live at once. A later one goes live when `batch` has computed every user's list with it.

    Example: reckoner fit --similarity bm25 --neighbours 50
    """
    from reckoner.shared.errors import NothingImportedError
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.fit_options import configuration, default_model, recency_of, require_valid
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import claim_store

    settings = load_settings()
    options = {"similarity": similarity, "neighbours": neighbours, "shrink": shrink, "power": power}
    options |= {"user_norm": user_norm, "alpha": alpha, "beta": beta, "k1": k1, "b": b}
    options |= {"candidates": candidates, "l1": l1, "l2": l2, "l2_share": l2_share}
    given = {name: value for name, value in options.items() if value is not None}
    _checked(lambda: require_valid(given))

    async def ask() -> None:
        # Redis first: an outage is the error to report.
        async with connect(settings) as reckoner:
            store = store_of(settings)
            await claim_store(reckoner.redis, settings, store)
            snapshot = store.current_snapshot()
            if snapshot is None:
                raise NothingImportedError
            default = default_model(store.fetch("snapshots", snapshot))
            config, gamma = _checked(lambda: configuration(given, default.config)), recency_of(store, snapshot, recency)
            if similarity is None and not as_json:
                say(f"Building {config.label}: about {max(default.seconds, 1):,.0f} s of one core.")
            job, model = await reckoner.operator.fit(
                snapshot, config, settings.list_length, recency=gamma, spare=settings.spare
            )
            if no_wait:
                sentence = f"Job {job} builds model {model}. See its progress with `reckoner job {job}`."
                found = {"job": job, "model": model, "snapshot": snapshot, "recency": gamma}
                print_result(found, sentence, as_json)
            else:
                report = await _wait(reckoner, job)
                await _print_end(reckoner, report, model, snapshot, gamma, as_json)

    run_async(ask())


def _checked(check: Callable[[], R]) -> R:
    """Check options; an error names the option."""
    import msgspec

    from reckoner.shared.errors import UsageError

    try:
        return check()
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        # An error about several options names them itself.
        option = f"--{where.rstrip('`')} cannot be used: ".replace("_", "-") if where else ""
        raise UsageError(f"{option}{reason}.") from error


async def _wait(reckoner: "OpenReckoner", job: str) -> "JobReport":
    with (
        say_if_cancelled(f"Stopped waiting. The job continues: see its progress with `reckoner job {job}`."),
        progress_bar("Building the model", "chunk tasks") as bar,
    ):
        async with warn_of_outages(reckoner, bar.say):
            async for report in reckoner.follow(job):
                bar.update(report.tasks_done, report.flow.tasks or None)
    return report


async def _print_end(
    reckoner: "OpenReckoner", report: "JobReport", model: str, snapshot: str, recency: float, as_json: bool
) -> None:
    from reckoner.producer.client.asking import job_error

    flow = report.flow
    if flow.state != "done":
        raise job_error("The fit", flow)
    generation, current = flow.answer.decode(errors="replace"), await reckoner.results.generations.current()
    duration_s = ((flow.ended_ms or flow.created_ms) - flow.created_ms) / 1000
    end = {
        "job": flow.id,
        "model": model,
        "snapshot": snapshot,
        "recency": recency,
        "generation": generation,
        "is_current": generation == current,
        "chunk_tasks": flow.tasks,
        "duration_s": duration_s,
    }
    if as_json:
        print_json(end)
        return
    live = "live: new lists use it"
    later = f"not live yet (live is {current}): compute all lists with `reckoner batch`"
    print_facts(
        [
            ("model", model if flow.tasks else f"{model} (already built)"),
            ("snapshot", snapshot),
            ("recency", f"{recency:g}"),
            ("generation", f"{generation}, {live if generation == current else later}"),
            ("took", f"{duration_s:.1f} s, {flow.tasks} chunk tasks"),
        ]
    )
