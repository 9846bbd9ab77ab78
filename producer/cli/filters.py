"""The options of commands that filter lists."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from reckoner.producer.cli.edge import identifier
from reckoner.producer.cli.output import say

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.wire.filters import Filter

Only: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="TAG", help="Only items with this tag, or another one given. May be repeated."),
]
Without: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="TAG", help="No items with this tag. May be repeated."),
]
Exclude: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="ITEM", help="Not this item. May be repeated."),
]
MaxPerTag: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-per-tag", metavar="N", min=1, help="At most N places whose items have the same tag."),
]
Diversity: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--diversity",
        metavar="D",
        help="Prefer places that are not alike: above 0, up to 1 for nothing but that.",
    ),
]


def read_filter(
    only: list[str] | None,
    without: list[str] | None,
    exclude: list[str] | None,
    max_per_tag: int | None,
    diversity: float | None,
) -> "Filter | None":
    """The filter of a command, None without any option.

    Raises:
        UsageError: an id or a number is invalid, or there are too many.
    """
    from reckoner.shared.wire.filters import filter_if_any

    return filter_if_any(
        only=[identifier("tag", tag) for tag in only or ()],
        without=[identifier("tag", tag) for tag in without or ()],
        exclude=[identifier("item", item) for item in exclude or ()],
        max_per_tag=max_per_tag,
        diversity=diversity,
    )


async def say_unknown_tags(reckoner: "OpenReckoner", snapshot: str, passing: "Filter | None", is_empty: bool) -> None:
    """Name the wanted tags that no item has, if a list is empty."""
    if passing is None or not is_empty:
        return
    for tag in await reckoner.results.tags.unknown(snapshot, passing.only):
        several = " Give each tag an --only of its own." if "," in tag else ""
        say(f"No item has the tag {tag}.{several}")
