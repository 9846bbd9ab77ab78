"""`reckoner lists`: prints the lists that are the same for all users."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson, Places
from reckoner.producer.cli.edge import require_utf8, run_connected
from reckoner.producer.cli.lists import as_object, print_places
from reckoner.producer.cli.output import print_json, print_line, print_result
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.client.answers import NamedList
    from reckoner.producer.client.open import OpenReckoner


def lists(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A list to print; by default the names are printed.")
    ] = None,
    n: Places = None,
    as_json: AsJson = False,
) -> None:
    """Print the names of the lists that are the same for all users, or one of the lists.

    A fit computes popular, trending and latest, and popular:TAG and so on of
    the tags with the most items. RECKONER_FALLBACK says which of them a user
    without a list gets.

    Example: reckoner lists popular -n 5
    """
    if name is None:
        for found in run_connected(_names):
            print_result({"list": found}, found, as_json)
        return
    wanted = require_utf8(name)

    async def read(reckoner: "OpenReckoner") -> "NamedList":
        return await reckoner.named_list(wanted, n)

    answer = run_connected(read)
    if as_json:
        print_json(as_object(answer))
    else:
        print_places(answer.items)
        if answer.left_out:
            print_line(f"Left out because hidden: {format_count(answer.left_out, 'place')}.")


async def _names(reckoner: "OpenReckoner") -> Sequence[str]:
    return await reckoner.list_names()
