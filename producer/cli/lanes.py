"""`reckoner pause` and `reckoner resume`: stop and restart work on a lane."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import run_connected
from reckoner.producer.cli.output import print_result
from reckoner.producer.formats import format_time

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

# Repeated here, so that `--help` need not import the wire formats.
LaneName: TypeAlias = Annotated[Literal["click", "batch"], typer.Argument(metavar="LANE", help="`click` or `batch`.")]


def pause(lane: LaneName, as_json: AsJson = False) -> None:
    """Pause a lane: workers take no jobs from it until it is resumed.

    Running jobs finish. New jobs wait in the lane.

    Example: reckoner pause batch
    """

    async def stop(reckoner: "OpenReckoner") -> None:
        since_ms = await reckoner.operator.pause(lane)
        sentence = f"The {lane} lane is paused since {format_time(since_ms)}. Resume it with `reckoner resume {lane}`."
        print_result({"lane": lane, "paused": True, "since_ms": since_ms}, sentence, as_json)

    run_connected(stop)


def resume(lane: LaneName, as_json: AsJson = False) -> None:
    """Resume a paused lane.

    Example: reckoner resume batch
    """

    async def go_on(reckoner: "OpenReckoner") -> None:
        was_paused = await reckoner.operator.resume(lane)
        sentence = f"The {lane} lane is resumed." if was_paused else f"The {lane} lane was not paused."
        print_result({"lane": lane, "paused": False, "was_paused": was_paused}, sentence, as_json)

    run_connected(go_on)
