"""`reckoner cancel`: ends jobs, and runs, for all who wait for them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.edge import complete, connect, identifier
from reckoner.producer.cli.output import print_json, print_line, say
from reckoner.producer.cli.users import AsJson

if TYPE_CHECKING:
    from reckoner.producer.client.reckoner import Reckoner


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cancel)


def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="The ids of jobs, or of runs.")],
    as_json: AsJson = False,
) -> None:
    """Cancel jobs: each ends for all who wait for it, and they are told.

    What a worker computes for it ends within seconds.
    With the id of a run no more of its blocks begin, those under way are
    cancelled, and readers stay with the generation that they have.
    The exit code is 1 if one of them had ended before.

    Example: reckoner cancel 8c1f0e5d2b7a9436
    """
    from reckoner.shared.settings import load_settings

    settings, wanted = load_settings(), [identifier("job", job) for job in ids]

    async def each() -> bool:
        async with connect(settings) as reckoner:
            return all([await _cancel(reckoner, job, as_json) for job in wanted])

    if not complete(each()):
        raise typer.Exit(1)


async def _cancel(reckoner: "Reckoner", wanted: str, as_json: bool) -> bool:
    """Cancel one and print that; what is wrong with one is said, and keeps no other from its turn."""
    from reckoner.shared.errors import FlowUnknownError

    try:
        cancelled = await reckoner.cancel(wanted)
        told, sentence = await _outcome(reckoner, wanted, cancelled)
    except FlowUnknownError:
        say(f"There is no job {wanted}: it never was, or it ended so long ago that it is forgotten.")
        return False
    if as_json:
        print_json(told)
    elif cancelled:
        print_line(sentence)
    if not cancelled:
        say(sentence)
    return cancelled


async def _outcome(reckoner: "Reckoner", wanted: str, cancelled: bool) -> tuple[dict[str, Any], str]:
    """What became of a job or run, as `--json` prints it and as a sentence."""
    flow = await reckoner.flows.load(wanted)
    if flow is None:
        run = (await reckoner.operator.run(wanted)).run
        went = (
            "is cancelled: it begins no more blocks and does not go live" if cancelled else "has no more blocks to end"
        )
        return {"run": run.id, "cancelled": cancelled, "state": run.state}, f"Run {run.id} {went}."
    went = "is cancelled" if cancelled else f"had ended before, as {flow.state}"
    of_run = f"; run {flow.run} counts its block {flow.block} as failed" if cancelled and flow.run else ""
    return {"job": flow.id, "cancelled": cancelled, "state": flow.state}, f"Job {flow.id} {went}{of_run}."
