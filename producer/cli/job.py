"""`reckoner job`: shows a job or a run."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_facts, print_json, print_line
from reckoner.producer.cli.runs import as_facts
from reckoner.producer.cli.tasks import print_shares, print_tasks
from reckoner.producer.formats import format_count, format_time

if TYPE_CHECKING:
    from reckoner.producer.client.answers import JobReport
    from reckoner.producer.client.open import OpenReckoner


def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a job or run.")],
    as_json: AsJson = False,
) -> None:
    """Show a job's progress, its tasks, and why it failed; or a run's progress.

    Jobs and runs expire an hour after their end.

    Example: reckoner job 8c1f0e5d2b7a9436
    """
    from reckoner.shared.errors import FlowUnknownError

    wanted = identifier("job", job_id)

    async def look(reckoner: "OpenReckoner") -> None:
        try:
            report = await reckoner.job(wanted)
        except FlowUnknownError:
            await _show_run(reckoner, wanted, as_json)
        else:
            _show_job(report, as_json)

    run_connected(look)


def _show_job(report: "JobReport", as_json: bool) -> None:
    if as_json:
        from reckoner.producer.objects import job_object

        print_json(job_object(report))
        return
    print_facts(_facts(report))
    if report.traces:
        print_line("")
        print_tasks(report)


def _facts(report: "JobReport") -> list[tuple[str, str]]:
    from reckoner.producer.objects import job_object

    flow, shown = report.flow, job_object(report)
    facts = [(name, str(shown[name])) for name in ("job", "kind", "lane", "state", "reason") if shown[name]]
    if "basket" in shown:
        facts.append(("basket", format_count(len(shown["basket"]), "item")))
    asked = ("user", "item", "other", "run", "block", "snapshot", "model", "generation")
    facts += [(name, str(shown[name])) for name in asked if shown.get(name) not in (None, "")]
    if flow.created_ms:
        facts.append(("created", format_time(flow.created_ms, exact=True)))
    if flow.ended_ms is not None:
        after = f", after {flow.ended_ms - flow.created_ms:,} ms" if flow.created_ms else ""
        facts.append(("ended", format_time(flow.ended_ms, exact=True) + after))
    facts.append(("chunk tasks", f"{report.tasks_done} of {flow.tasks} done"))
    return facts


async def _show_run(reckoner: "OpenReckoner", run_id: str, as_json: bool) -> None:
    report = await reckoner.operator.run(run_id)
    run = report.run
    by_worker = run.manifest.tasks if run.manifest else {}
    if as_json:
        from reckoner.producer.objects import run_object

        print_json(run_object(run) | {"blocks_done": report.blocks_done})
        return
    facts = [*as_facts(run), ("created", format_time(run.started_ms, exact=True))]
    if run.ended_ms is not None:
        facts.append(("ended", format_time(run.ended_ms, exact=True)))
    print_facts([*facts, ("blocks", f"{report.blocks_done} of {run.blocks} done")])
    if by_worker:
        print_line("")
        print_shares(by_worker)
