"""`reckoner similar`: an item's neighbours, or the similarity of two items."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_facts, print_json, print_line, print_nonempty_columns, say
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.client.answers import Compared, Similar
    from reckoner.producer.client.open import OpenReckoner


def similar(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
    other: Annotated[str | None, typer.Argument(metavar="OTHER", help="Id of an item to compare with.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1000, help="Neighbours to print.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Print an item's most similar items, or the similarity of two items.

    The workers answer from the live model.

    Example: reckoner similar 55820 -n 5
    """
    wanted = identifier("item", item)
    compared = None if other is None else identifier("item", other)

    async def look(reckoner: "OpenReckoner") -> "Similar | Compared":
        async with warn_of_outages(reckoner, say):
            if compared is None:
                return await reckoner.similar(wanted, n)
            return await reckoner.similar(wanted, other=compared)

    answer = run_connected(look)
    from reckoner.producer.client.answers import Similar

    if as_json:
        print_json(asdict(answer))
    elif isinstance(answer, Similar):
        _print_neighbours(answer)
    else:
        _print_comparison(answer)


def named(item: str, title: str | None) -> str:
    """An item with its title, if it has one."""
    return f"{item}, {title}" if title else item


def _print_neighbours(answer: "Similar") -> None:
    print_line(f"Item {named(answer.item, answer.title)}: {format_count(answer.users, 'user')}")
    if not answer.items:
        print_line("No item is similar to it in the model.")
        return
    rows = [
        (str(rank), near.item, near.title or "", f"{near.similarity:.4f}") for rank, near in enumerate(answer.items, 1)
    ]
    print_nonempty_columns(("", "item", "title", "similarity"), rows, numbers=("", "similarity"))


def _print_comparison(answer: "Compared") -> None:
    print_facts([
        ("similarity", f"{answer.similarity:.4f}"),
        ("shared", f"{format_count(answer.shared_users, 'user')} had both"),
        ("item", f"{named(answer.item, answer.title)}: {format_count(answer.users, 'user')}"),
        ("other", f"{named(answer.other, answer.other_title)}: {format_count(answer.other_users, 'user')}"),
    ])  # fmt: skip
