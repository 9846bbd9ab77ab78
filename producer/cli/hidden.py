"""`reckoner hide`, `unhide` and `hidden`: items that must not be shown, to anybody or to one user."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from reckoner.producer.cli.arguments import AsJson, read_lines
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_json, print_nonempty_columns, print_result, say
from reckoner.producer.cli.times import read_time
from reckoner.producer.formats import format_count, format_time

if TYPE_CHECKING:
    from datetime import datetime

    from reckoner.producer.client.answers import HiddenItem
    from reckoner.producer.client.open import OpenReckoner

Items: TypeAlias = Annotated[list[str] | None, typer.Argument(metavar="ITEM", help="Item ids.", show_default=False)]
ForUser: TypeAlias = Annotated[
    str | None,
    typer.Option("--for", metavar="USER", help="For this user only.", show_default="everybody"),
]


def hide(
    items: Items = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="Show them again from then on: ISO 8601, in UTC without a zone, or from now on, as in 2h or 3d.",
            show_default="unhide",
        ),
    ] = None,
    user: ForUser = None,
    replace: Annotated[
        str | None,
        typer.Option(
            "--replace",
            metavar="FILE",
            help="Hide the items of this file and no others, one id a line; - is standard input.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hide items, such as sold-out ones: the next read leaves them out.

    A user's lists are computed without them from then on. With --for, they are
    hidden from one user, who is not interested in them.

    Example: reckoner hide 55820 48516 --until 3d
    """
    from reckoner.shared.errors import UsageError

    if replace is not None:
        if items or until is not None or user is not None:
            raise UsageError("--replace takes all items from its file. Remove the items, --until and --for.")
        _replace(replace, as_json)
        return
    if user is not None and until is not None:
        raise UsageError("--until applies to items that are hidden from everybody. Remove --until or --for.")
    wanted, name = _required(items), None if user is None else identifier("user", user)
    end = None if until is None else _ahead(until)

    async def change(reckoner: "OpenReckoner") -> int:
        if name is not None:
            return await reckoner.hide(name, *wanted)
        return await reckoner.catalogue.hide(wanted, until=end)

    changed = run_connected(change)
    from_whom = "everybody" if name is None else f"user {name}"
    rest = "" if end is None else f" until {format_time(end.timestamp() * 1000)}"
    known = f" ({len(wanted) - changed:,} of them before)" if changed < len(wanted) else ""
    sentence = f"Hidden from {from_whom}{rest}: {format_count(len(wanted), 'item')}{known}."
    print_result({"user": name, "items": wanted, "changed": changed}, sentence, as_json)


def unhide(
    items: Items = None,
    user: ForUser = None,
    everything: Annotated[bool, typer.Option("--all", help="Show all items again that are hidden from all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show hidden items again.

    What a user disliked by an event stays out of their lists.
    Cached lists hold them again when they are computed the next time.

    Example: reckoner unhide 55820
    """
    from reckoner.shared.errors import UsageError

    if everything and (items or user is not None):
        raise UsageError("--all applies to everything that is hidden from everybody. Remove the items and --for.")
    wanted, name = [] if everything else _required(items), None if user is None else identifier("user", user)

    async def change(reckoner: "OpenReckoner") -> int:
        if everything:
            found = len(await reckoner.catalogue.hidden())
            await reckoner.catalogue.replace_hidden([])
            return found
        return await (reckoner.catalogue.unhide(wanted) if name is None else reckoner.unhide(name, *wanted))

    changed = run_connected(change)
    sentence = f"Shown again: {format_count(changed, 'item')}."
    if changed < len(wanted):
        sentence += f" Not hidden before: {format_count(len(wanted) - changed, 'item')}."
        sentence += "" if name is None else " A recorded dislike stays."
    print_result({"user": name, "items": wanted, "changed": changed}, sentence, as_json)


def hidden(user: ForUser = None, as_json: AsJson = False) -> None:
    """Print the items that are hidden from everybody, or from one user.

    Example: reckoner hidden --json
    """
    name = None if user is None else identifier("user", user)

    async def look(reckoner: "OpenReckoner") -> "list[HiddenItem]":
        from reckoner.producer.client.answers import HiddenItem

        if name is None:
            return await reckoner.catalogue.hidden()
        return [HiddenItem(item, None) for item in await reckoner.hidden_for(name)]

    found = run_connected(look)
    if as_json:
        for one in found:
            print_json({"item": one.item, "until_ms": one.until_ms})
        return
    if not found:
        say(f"Nothing is hidden from {'everybody' if name is None else f'user {name}'}.")
    rows = [(one.item, "" if one.until_ms is None else format_time(one.until_ms)) for one in found]
    print_nonempty_columns(("item", "until"), rows)


def _replace(file: str, as_json: bool) -> None:
    from reckoner.shared.errors import SourceError

    wanted = list(dict.fromkeys(read_lines("item", None if file == "-" else Path(file))))
    if not wanted:
        # A feed that failed is empty too.
        where = "Standard input" if file == "-" else f"The file {file}"
        raise SourceError(f"{where} has no items, so nothing was changed. `reckoner unhide --all` shows all again.")

    async def change(reckoner: "OpenReckoner") -> int:
        return await reckoner.catalogue.replace_hidden(wanted)

    count = run_connected(change)
    print_result({"hidden": count}, f"Hidden from everybody now: these {format_count(count, 'item')}.", as_json)


def _required(items: list[str] | None) -> list[str]:
    from reckoner.shared.errors import UsageError

    if not items:
        raise UsageError("Give at least one item.")
    return list(dict.fromkeys(identifier("item", item) for item in items))


def _ahead(text: str) -> "datetime":
    """A time that is not over yet.

    Raises:
        UsageError: it is.
    """
    from datetime import UTC, datetime

    from reckoner.shared.errors import UsageError

    end = read_time(text, ahead=True)
    if end <= datetime.now(UTC):
        raise UsageError(f"The time {end:%Y-%m-%d %H:%M %Z} is over. Give a later one.")
    return end
