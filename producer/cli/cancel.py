"""`reckoner cancel`: cancels jobs and runs for all their callers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_json, print_line, say

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


def cancel(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of jobs or runs.")],
    as_json: AsJson = False,
) -> None:
    """Cancel jobs for all their callers, who are notified.

    Running tasks of a cancelled job stop within seconds.

    A run's id cancels the run: its running blocks are cancelled, no others
    start, and readers keep the generation that they have.

    The exit code is 1 if a job had already ended.

    Example: reckoner cancel 8c1f0e5d2b7a9436
    """
    wanted = [identifier("job", job) for job in ids]

    async def each(reckoner: "OpenReckoner") -> bool:
        return all([await _cancel(reckoner, job, as_json) for job in wanted])

    if not run_connected(each):
        raise typer.Exit(1)


async def _cancel(reckoner: "OpenReckoner", wanted: str, as_json: bool) -> bool:
    """Cancel one job or run and print the outcome; False if there was nothing to cancel."""
    from reckoner.shared.errors import FlowUnknownError

    try:
        cancelled = await reckoner.cancel(wanted)
        record, sentence = await _outcome(reckoner, wanted, cancelled)
    except FlowUnknownError:
        say(f"Unknown job {wanted}: it never existed, or its record has expired.")
        return False
    if as_json:
        print_json(record)
    elif cancelled:
        print_line(sentence)
    if not cancelled:
        say(sentence)
    return cancelled


async def _outcome(reckoner: "OpenReckoner", wanted: str, cancelled: bool) -> tuple[dict[str, Any], str]:
    """The state of a job or run, as a JSON object and as a sentence."""
    flow = await reckoner.flows.load(wanted)
    if flow is None:
        run = (await reckoner.operator.run(wanted)).run
        went = "is cancelled: it starts no more blocks and does not go live" if cancelled else "had already ended"
        return {"run": run.id, "cancelled": cancelled, "state": run.state}, f"Run {run.id} {went}."
    went = "is cancelled" if cancelled else f"had already ended as {flow.state}"
    of_run = f"; run {flow.run} counts block {flow.block} as failed" if cancelled and flow.run else ""
    return {"job": flow.id, "cancelled": cancelled, "state": flow.state}, f"Job {flow.id} {went}{of_run}."
