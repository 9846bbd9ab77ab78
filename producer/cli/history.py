"""`reckoner runs`: the history of nights, runs, fits, imports and evaluations."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_facts, print_json, print_nonempty_columns, print_result, say
from reckoner.producer.formats import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.serving.history import Entry

group = typer.Typer(
    name="runs",
    help="Show how nights, runs, fits, imports and evaluations ended.\n\nExample: reckoner runs",
    invoke_without_command=True,
)


@group.callback()
def runs(
    context: typer.Context,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1200, help="How many to show.")] = 20,
    kind: Annotated[
        Literal["night", "run", "fit", "import", "evaluation", "promote", "rollback"] | None,
        typer.Option("--kind", help="Show one kind only."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how nights, runs, fits, imports and evaluations ended, newest first.

    The last 400 are kept; imports and evaluations have 400 each beside them.

    Example: reckoner runs -n 5 --kind night
    """
    if context.invoked_subcommand is not None:
        return

    async def look(reckoner: "OpenReckoner") -> None:
        entries = await reckoner.operator.entries(n, kind)
        if as_json:
            from reckoner.producer.objects import entry_object

            for entry in entries:
                print_json(entry_object(entry))
        elif entries:
            columns = ("id", "kind", "started", "took", "outcome", "users", "churn")
            print_nonempty_columns(
                columns, [_row(entry) for entry in entries], numbers=("took", "users", "churn"), whole=("id",)
            )
        elif kind is not None:
            say(f"No {kind} has ended yet. See everything with `reckoner runs`.")
        else:
            say("Nothing has ended yet: start with `reckoner import` and `reckoner night`.")

    run_connected(look)


@group.command()
def show(
    entry: Annotated[str, typer.Argument(metavar="ID", help="An id of `reckoner runs`.")],
    as_json: AsJson = False,
) -> None:
    """Show one night, run, fit or import, with its figures and reasons.

    Example: reckoner runs show 8c1f0e5d2b7a9436
    """
    wanted = identifier("history", entry)

    async def look(reckoner: "OpenReckoner") -> None:
        found = await reckoner.operator.entry(wanted)
        if as_json:
            from reckoner.producer.objects import entry_object

            print_json(entry_object(found))
        else:
            print_facts(_facts(found))

    run_connected(look)


@group.command()
def acknowledge(
    entry: Annotated[str, typer.Argument(metavar="ID", help="An id of `reckoner runs`.")],
    as_json: AsJson = False,
) -> None:
    """Acknowledge a night that failed or was refused: `doctor` stops naming it.

    Example: reckoner runs acknowledge 8c1f0e5d2b7a9436
    """
    wanted = identifier("history", entry)

    async def look(reckoner: "OpenReckoner") -> None:
        found = await reckoner.operator.acknowledge(wanted)
        print_result({"id": found.id, "acknowledged": True}, f"The {found.kind} {found.id} is acknowledged.", as_json)

    run_connected(look)


def _row(entry: "Entry") -> tuple[str, ...]:
    users, gate = entry.figures.get("users"), entry.figures.get("figures")
    churn = gate.get("churn") if isinstance(gate, dict) else None
    return (
        entry.id,
        entry.kind,
        format_time(entry.started_ms),
        format_duration(entry.took_s * 1000),
        entry.outcome + (" (acknowledged)" if entry.acknowledged else ""),
        # Another release may have kept others.
        f"{users:,}" if isinstance(users, int) else "",
        f"{churn:.1%}" if isinstance(churn, float) else "",
    )


def _facts(entry: "Entry") -> "Iterator[tuple[str, str]]":
    from reckoner.producer.sentences import figure_facts, stage_sentence

    yield entry.kind, entry.id
    yield "outcome", entry.outcome + (" (acknowledged)" if entry.acknowledged else "")
    yield "started", format_time(entry.started_ms) + (f", by {entry.starter}" if entry.starter else "")
    yield "took", format_duration(entry.took_s * 1000)
    for name in ("date", "snapshot", "model", "generation"):
        if value := getattr(entry, name):
            yield name, value
    for stage in entry.stages:
        yield stage["name"], stage_sentence(stage["outcome"], stage["started_ms"], stage["ended_ms"], stage["message"])
    if not entry.stages:
        yield from (("reason", reason) for reason in entry.reasons)
        if isinstance(evaluation := entry.figures.get("evaluation"), str) and evaluation:
            yield "evaluation", evaluation
    yield from figure_facts(entry.figures)
    if entry.releases:
        yield "releases", ", ".join(name or "unknown" for name in entry.releases)
