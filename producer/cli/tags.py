"""`reckoner tag` and `reckoner tags`: change and show the tags of items."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, require_utf8, run_connected
from reckoner.producer.cli.output import print_json, print_line, print_nonempty_columns, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reckoner.producer.client.answers import TaggedItem
    from reckoner.producer.client.open import OpenReckoner


def tag(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHANGES", help="+TAG adds a tag, -TAG removes one.", show_default=False),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Undo all live changes: the tags are those of the snapshot again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change the tags of an item at once.

    The item has the changed tags until --reset, whatever later imports say.
    Lists of tags, such as popular:sale, follow with the next fit.

    Example: reckoner tag 55820 +sale -new
    """
    from reckoner.shared.errors import UsageError

    wanted = identifier("item", item)
    words = [require_utf8(change) for change in changes or ()]
    if option := next((word for word in words if word.startswith("--")), None):
        raise UsageError(f"There is no option {option}. See `reckoner tag --help`.")
    if wrong := next((word for word in words if word[:1] not in ("+", "-")), None):
        raise UsageError(f"{wrong} is no change of a tag. Write +{wrong} to add the tag, or -{wrong} to remove it.")
    if reset == bool(words):
        raise UsageError("Give changes of tags, such as +sale -new, or --reset.")
    add, remove = ([word[1:] for word in words if word[0] == sign] for sign in "+-")

    async def change(reckoner: "OpenReckoner") -> "TaggedItem":
        return await (
            reckoner.catalogue.reset_tags(wanted) if reset else reckoner.catalogue.tag(wanted, add=add, remove=remove)
        )

    _print([run_connected(change)], as_json)


def tags(
    item: Annotated[
        str | None, typer.Argument(metavar="ITEM", help="The item's id; without one, all that were changed live.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the tags of an item, or the items whose tags were changed live.

    Example: reckoner tags 55820
    """
    wanted = None if item is None else identifier("item", item)

    async def look(reckoner: "OpenReckoner") -> "list[TaggedItem]":
        return await (reckoner.catalogue.live_tags() if wanted is None else reckoner.catalogue.tags([wanted]))

    found = run_connected(look)
    if not found:
        say("No item's tags were changed live.")
    _print(found, as_json)


def _print(items: "Sequence[TaggedItem]", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        for item in items:
            print_json(asdict(item))
        return
    for one in items:
        if not one.tags:
            print_line(f"{one.item} has no tags{', since they were changed live' if one.live else ''}")
    rows = [(one.item, ", ".join(one.tags), "live" if one.live else "") for one in items if one.tags]
    if rows:
        print_nonempty_columns(("item", "tags", "changed"), rows)
