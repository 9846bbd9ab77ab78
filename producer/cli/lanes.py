"""`reckoner pause` and `reckoner resume`: stop and restart work on a lane."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async
from reckoner.producer.cli.output import format_time, print_json, print_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reckoner.producer.client.reckoner import Reckoner

# Repeated here, so that `--help` need not import the wire formats.
LaneName: TypeAlias = Annotated[Literal["click", "batch"], typer.Argument(metavar="LANE", help="`click` or `batch`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)


def pause(lane: LaneName, as_json: AsJson = False) -> None:
    """Pause a lane: workers take no jobs from it until it is resumed.

    Running jobs finish. New jobs wait in the lane.

    Example: reckoner pause batch
    """

    async def stop(reckoner: "Reckoner") -> None:
        since_ms = await reckoner.operator.pause(lane)
        if as_json:
            print_json({"lane": lane, "paused": True, "since_ms": since_ms})
        else:
            print_line(
                f"The {lane} lane is paused since {format_time(since_ms)}. Resume it with `reckoner resume {lane}`."
            )

    _do(stop)


def resume(lane: LaneName, as_json: AsJson = False) -> None:
    """Resume a paused lane.

    Example: reckoner resume batch
    """

    async def go_on(reckoner: "Reckoner") -> None:
        was_paused = await reckoner.operator.resume(lane)
        if as_json:
            print_json({"lane": lane, "paused": False, "was_paused": was_paused})
        else:
            print_line(f"The {lane} lane is resumed." if was_paused else f"The {lane} lane was not paused.")

    _do(go_on)


def _do(work: "Callable[[Reckoner], Awaitable[None]]") -> None:
    from reckoner.shared.settings import load_settings

    settings = load_settings()

    async def connected() -> None:
        async with connect(settings) as reckoner:
            await work(reckoner)

    run_async(connected())
