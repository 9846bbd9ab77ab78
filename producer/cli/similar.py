"""`reckoner similar`: an item's neighbours, or how similar it is to another one."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.edge import complete, connect, identifier
from reckoner.producer.cli.output import counted, print_facts, print_filled, print_json, print_line, say
from reckoner.producer.cli.users import AsJson
from reckoner.producer.cli.work import minding_workers

if TYPE_CHECKING:
    from reckoner.producer.client.answers import Compared, Similar


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(similar)


def similar(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
    other: Annotated[str | None, typer.Argument(metavar="OTHER", help="Another item's id, to compare it with.")] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, max=1000, help="How many neighbours to print.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Print the items that are most similar to one, or how similar two are.

    The workers answer it, from the model that readers' lists are made with.

    Example: reckoner similar 55820 -n 5
    """
    from reckoner.shared.settings import load_settings

    settings, wanted = load_settings(), identifier("item", item)
    compared = None if other is None else identifier("item", other)

    async def look() -> "Similar | Compared":
        async with connect(settings) as reckoner, minding_workers(reckoner, say):
            if compared is None:
                return await reckoner.similar(wanted, n)
            return await reckoner.similar(wanted, other=compared)

    answer = complete(look())
    from reckoner.producer.client.answers import Similar

    if as_json:
        print_json(asdict(answer))
    elif isinstance(answer, Similar):
        _print_neighbours(answer)
    else:
        _print_comparison(answer)


def named(item: str, title: str | None) -> str:
    """An item with its title, where it has one."""
    return f"{item}, {title}" if title else item


def _print_neighbours(answer: "Similar") -> None:
    print_line(f"Item {named(answer.item, answer.title)}: {counted(answer.users, 'user')}")
    if not answer.items:
        print_line("No item is similar to it in the model.")
        return
    rows = [
        (str(rank), near.item, near.title or "", f"{near.similarity:.4f}") for rank, near in enumerate(answer.items, 1)
    ]
    print_filled(("", "item", "title", "similarity"), rows, numbers=("", "similarity"))


def _print_comparison(answer: "Compared") -> None:
    print_facts([
        ("similarity", f"{answer.similarity:.4f}"),
        ("shared", f"{counted(answer.shared_users, 'user')} had both"),
        ("item", f"{named(answer.item, answer.title)}: {counted(answer.users, 'user')}"),
        ("other", f"{named(answer.other, answer.other_title)}: {counted(answer.other_users, 'user')}"),
    ])  # fmt: skip
