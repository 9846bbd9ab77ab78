"""`reckoner pause` and `reckoner resume`: a lane that is not to be worked on for a while."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from reckoner.producer.cli.edge import complete, connect
from reckoner.producer.cli.output import moment, print_json, print_line
from reckoner.producer.cli.users import AsJson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reckoner.producer.client.reckoner import Reckoner

# Named here as well, since a help text is printed without the wire.
LaneName: TypeAlias = Annotated[Literal["click", "batch"], typer.Argument(metavar="LANE", help="`click` or `batch`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)


def pause(lane: LaneName, as_json: AsJson = False) -> None:
    """Have workers take no more jobs from a lane, until it is resumed.

    What runs comes to its end, and what is asked for waits in the lane.

    Example: reckoner pause batch
    """

    async def stop(reckoner: "Reckoner") -> None:
        since_ms = await reckoner.operator.pause(lane)
        if as_json:
            print_json({"lane": lane, "paused": True, "since_ms": since_ms})
        else:
            print_line(f"The {lane} lane is paused since {moment(since_ms)}; `reckoner resume {lane}` lets it go on.")

    _do(stop)


def resume(lane: LaneName, as_json: AsJson = False) -> None:
    """Have workers take jobs from a paused lane again.

    Example: reckoner resume batch
    """

    async def go_on(reckoner: "Reckoner") -> None:
        was_paused = await reckoner.operator.resume(lane)
        if as_json:
            print_json({"lane": lane, "paused": False, "was_paused": was_paused})
        else:
            print_line(f"The {lane} lane goes on." if was_paused else f"The {lane} lane was not paused.")

    _do(go_on)


def _do(work: "Callable[[Reckoner], Awaitable[None]]") -> None:
    from reckoner.shared.settings import load_settings

    settings = load_settings()

    async def connected() -> None:
        async with connect(settings) as reckoner:
            await work(reckoner)

    complete(connected())
