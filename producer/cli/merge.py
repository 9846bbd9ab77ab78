"""`reckoner merge`: joins what a visitor did to a user."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_result
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


def merge(
    visitor: Annotated[str, typer.Argument(metavar="VISITOR", help="The id under which events were recorded so far.")],
    user: Annotated[str, typer.Argument(metavar="USER", help="The id of the user who logged in.")],
    as_json: AsJson = False,
) -> None:
    """Move what a visitor did, and hid, to a user, as at a login.

    It moves the events since the last import began. What was imported stays
    the visitor's.

    Example: reckoner merge visitor-8c1f 42
    """
    source, target = identifier("user", visitor), identifier("user", user)

    async def move(reckoner: "OpenReckoner") -> int:
        return await reckoner.merge(source, target)

    moved = run_connected(move)
    sentence = f"Visitor {source} has nothing to move: no events since the last import."
    if moved:
        sentence = f"Moved {format_count(moved, 'event')} from {source} to {target}."
    print_result({"visitor": source, "user": target, "events": moved}, sentence, as_json)
