"""`reckoner batch`: computes every user's list."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_facts, print_json, print_result, progress_bar, say
from reckoner.producer.cli.runs import as_facts, verdict
from reckoner.shared.defaults import MAX_BLOCK_USERS

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.flows.run_state import Run


def batch(
    block: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_BLOCK_USERS,
            show_default="RECKONER_BLOCK_SIZE, or by their work",
            help="Users per job.",
        ),
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=150,
            show_default="as many as the live workers hold",
            help="Jobs of the run in flight at a time.",
        ),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the run's id without waiting for its end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute every user's list with the newest model, and make the lists live.

    The run continues if this command stops waiting. The exit code is 0 only if the new generation went live.

    Example: reckoner batch --block 500
    """
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import imported_last

    settings = load_settings()

    async def start() -> bool:
        async with connect(settings) as reckoner:
            run_id, is_new = await reckoner.operator.start_run(block or settings.block_size or None, in_flight)
            imported, fitted = imported_last(settings), (await reckoner.operator.newest()).snapshot
            if imported not in (None, fitted):
                say(f"The newest model uses snapshot {fitted}, not the current {imported}. Run `reckoner fit` first.")
            if not is_new:
                say(f"Run {run_id} of this generation is already in progress. Joined it.")
            if no_wait:
                sentence = f"Run {run_id} has started. See its progress with `reckoner job {run_id}`."
                print_result({"run": run_id, "is_new": is_new}, sentence, as_json)
                return True
            run = await _wait(reckoner, run_id)
            if as_json:
                from reckoner.producer.objects import run_object

                print_json(run_object(run))
            else:
                print_facts(as_facts(run))
            if run.outcome != "passed":
                say(verdict(run))
            return run.outcome == "passed"

    if not run_async(start()):
        raise typer.Exit(1)


async def _wait(reckoner: "OpenReckoner", run_id: str) -> "Run":
    with (
        say_if_cancelled(f"Stopped waiting. The run continues: see its progress with `reckoner job {run_id}`."),
        progress_bar("Computing all lists", "users") as bar,
    ):
        async with warn_of_outages(reckoner, bar.say):
            async for report in reckoner.operator.follow_run(run_id):
                run = report.run
                bar.update(report.users_done, run.users)
    return run
