"""`reckoner night`: from the source to the live lists, in stages."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_facts, print_json, print_result, progress_bar, say

if TYPE_CHECKING:
    from reckoner.producer.cli.output import Bar
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.flows.nights import Beginning, Night
    from reckoner.shared.serving.history import Entry

BEGINNINGS: "dict[Beginning, str]" = {
    "started": "Night {night} of {date} has begun. See how it ends with `reckoner runs`.",
    "joined": "Night {night} is in progress. Joined it.",
    "known": "The night of {date} went live already. See `reckoner runs show {night}`.",
}


def night(
    date: Annotated[
        str | None,
        typer.Option("--date", metavar="DATE", help="The date that this night counts for, as in 2026-11-30."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end, with progress.")] = False,
    no_import: Annotated[bool, typer.Option("--no-import", help="Keep the current snapshot.")] = False,
    no_fit: Annotated[bool, typer.Option("--no-fit", help="Keep the newest model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all but make the new lists live.")] = False,
    skip_code: Annotated[
        int,
        typer.Option("--skip-code", metavar="N", min=0, max=255, help="The exit code if there was nothing to do."),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Import, fit, compute all lists, and make them live if they pass the gate.

    The workers do all of it: the night goes on if this command ends. Stages
    without news are skipped. What is imported, and how models are fitted, is
    set by RECKONER_SOURCE and RECKONER_FIT.

    A night under way is joined. A date whose night went live has no other one.
    The exit code is 0 if the lists went live or there was nothing to do, and 1
    if the night failed or was refused; without --wait it is 0.

    Example: reckoner night --wait
    """
    from reckoner.shared.flows.nights import NightOptions
    from reckoner.shared.nightly import parse_nightly
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.fit_options import require_valid_fit

    settings, options = load_settings(), NightOptions(not no_import, not no_fit, dry_run)
    require_valid_fit(settings.fit)
    nightly = parse_nightly(settings.nightly)

    async def begin() -> int:
        async with connect(settings) as reckoner:
            night_id, of_date, beginning = await reckoner.operator.begin_night(date, options, nightly)
            sentence = BEGINNINGS[beginning].format(night=night_id, date=of_date)
            if not wait:
                print_result({"night": night_id, "date": of_date, "beginning": beginning}, sentence, as_json)
                return 0
            if beginning != "started":
                say(sentence)
            ended = await _wait(reckoner, night_id)
            return _print_end(ended, await _entry(reckoner, night_id), skip_code, as_json)

    if code := run_async(begin()):
        raise typer.Exit(code)


async def _wait(reckoner: "OpenReckoner", night_id: str) -> "Night":
    stopped = "Stopped waiting. The night goes on: see how it ends with `reckoner runs`."
    with say_if_cancelled(stopped), progress_bar("Waiting for a worker", "") as bar:
        async with warn_of_outages(reckoner, bar.say):
            async for night in reckoner.operator.follow_night(night_id):
                await _show(reckoner, night, bar)
    return night


async def _entry(reckoner: "OpenReckoner", night_id: str) -> "Entry | None":
    """The night's entry in the history, with the figures of its run; None if it was not kept."""
    from reckoner.shared.errors import EntryUnknownError, RedisUnavailableError

    try:
        return await reckoner.operator.entry(night_id)
    except (EntryUnknownError, RedisUnavailableError):
        return None


async def _show(reckoner: "OpenReckoner", night: "Night", bar: "Bar") -> None:
    """Show the progress of the stage that runs."""
    from reckoner.shared.errors import FlowUnknownError, RedisUnavailableError

    running = next((stage for stage in night.stages.values() if stage.outcome is None), None)
    if running is None:
        return
    try:
        match running.name:
            case "import":
                bar.show("Importing", "rows", running.progress, None)
            case "fit" if running.job:
                report = await reckoner.job(running.job)
                bar.show("Building the model", "chunk tasks", report.tasks_done, report.flow.tasks or None)
            case "everybody" if running.job:
                run = await reckoner.operator.run(running.job)
                bar.show("Computing all lists", "users", run.users_done, run.run.users)
            case "gate" | "flip":
                bar.show("Comparing with the live lists", "", 0, None)
            case "clean-up":
                bar.show("Deleting old generations", "", 0, None)
    except (FlowUnknownError, RedisUnavailableError):
        # The next look shows what became of it.
        return


def _print_end(night: "Night", entry: "Entry | None", skip_code: int, as_json: bool) -> int:
    """Print how a night ended, with its figures, and return the exit code."""

    from reckoner.producer.sentences import VERDICTS, figure_facts

    if as_json:
        from reckoner.producer.objects import entry_object, night_object

        print_json(night_object(night) | (entry_object(entry) if entry else {}))
    else:
        print_facts([*as_facts(night), *figure_facts(entry.figures if entry else {})])
    if night.outcome in ("refused", "failed"):
        if as_json:
            say(VERDICTS[night.outcome])
        return 1
    return skip_code if night.outcome == "unchanged" else 0


def as_facts(night: "Night") -> list[tuple[str, str]]:
    """The printed facts of a night."""

    from reckoner.producer.sentences import VERDICTS, stage_sentence

    facts = [("night", f"{night.id}, of {night.date}")]
    facts += [
        (stage.name, stage_sentence(stage.outcome, stage.started_ms, stage.ended_ms, stage.message))
        for stage in night.stages.values()
    ]
    if night.outcome:
        facts.append(("outcome", VERDICTS[night.outcome]))
    return facts
