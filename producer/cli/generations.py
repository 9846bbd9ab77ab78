"""`reckoner rollback` and `reckoner promote`: choose the live generation by hand."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_result

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


def rollback(as_json: AsJson = False) -> None:
    """Make the previous generation live again.

    Readers see it at their next read. No night makes the generation that was
    live current again: only `promote` does.

    Example: reckoner rollback
    """

    async def back(reckoner: "OpenReckoner") -> None:
        generation, before = await reckoner.operator.rollback()
        sentence = (
            f"Generation {generation} is live again. Generation {before} goes live only by `reckoner promote {before}`."
        )
        print_result({"generation": generation, "barred": before}, sentence, as_json)

    run_connected(back)


def promote(
    generation: Annotated[str, typer.Argument(metavar="GENERATION", help="The generation's id, as in `status`.")],
    as_json: AsJson = False,
) -> None:
    """Make a refused or earlier generation live, whatever the gate said.

    It must hold every user's list. Readers see it at their next read, and the
    generation that was live becomes the previous one.

    Example: reckoner promote 8c1f0e5d2b7a9436
    """
    wanted = identifier("generation", generation)

    async def forward(reckoner: "OpenReckoner") -> None:
        before = await reckoner.operator.promote(wanted)
        if before == wanted:
            sentence = f"Generation {wanted} is live already."
        else:
            sentence = f"Generation {wanted} is live." + (f" The previous one is {before}." if before else "")
        print_result({"generation": wanted, "previous": before}, sentence, as_json)

    run_connected(forward)
