"""`reckoner show`: a user's history and list, compared with the previous generation."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.arguments import AsJson, InGeneration, Places
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_json, print_line, print_nonempty_columns, say
from reckoner.producer.formats import format_count, format_time

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.client.showing import Shown

SHOWN_EVENTS = 10
ROLES = {"history": "", "signal": "may be shown again", "exclude": "does not count"}


def show(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    n: Places = None,
    generation: InGeneration = None,
    as_json: AsJson = False,
) -> None:
    """Show a user's history, recent events and list, with the reasons and changes.

    The list comes from the cache and is compared with the previous generation,
    or that of --generation with the live one. The history comes from the
    workers.

    Example: reckoner show 601 -n 5
    """
    wanted = identifier("user", user)

    async def look(reckoner: "OpenReckoner") -> "Shown":
        async with warn_of_outages(reckoner, say):
            return await reckoner.operator.show(wanted, n, generation=generation)

    shown = run_connected(look)
    if as_json:
        print_json(_as_object(shown))
    else:
        _print(shown)


def _as_object(shown: "Shown") -> dict[str, Any]:
    from dataclasses import asdict

    assert shown.history is not None, "it was waited for"
    history = asdict(shown.history)
    places = [
        {"item": e.item, "score": e.score, "because": e.because, "title": e.title, "before": shown.rank_before(e.item)}
        for e in shown.items
    ]
    return {
        "user": history["user"],
        "generation": shown.generation,
        "previous": shown.previous,
        "had": history["count"],
        "history": history["items"],
        "source": shown.source,
        "items": places,
        "left_out": shown.left_out,
        "had_list_before": shown.before is not None,
        "recent": [asdict(event) | {"title": shown.titles.get(event.item)} for event in shown.recent],
        "hidden": shown.hidden,
        "withheld": [{"item": item, "rank": rank, "why": why} for rank, item, why in shown.withheld],
        "impressions": shown.impressions,
        "left": [{"item": item, "title": title, "before": rank} for rank, item, title in shown.left],
    }


def _print(shown: "Shown") -> None:
    from reckoner.producer.sentences import list_called

    history = shown.history
    assert history is not None, "it was waited for"
    end = "last" if any(had.time_ms is not None for had in history.items) else "first"
    some = f"; the {end} {len(history.items)}" if len(history.items) < history.count else ""
    print_line(f"User {history.user} had {format_count(history.count, 'item')}{some}")
    rows = [
        (had.title or had.item, "" if had.time_ms is None else _day(had.time_ms), _number(had.weight))
        for had in history.items
    ]
    print_nonempty_columns(("had", "when", "weight"), rows, numbers=("weight",))
    _print_recent(shown)
    print_line("")
    if shown.source != "cache" and shown.is_live:
        print_line(
            f"No list of their own, so readers get {list_called(shown.source)}. "
            f"If their history allows it, `reckoner enqueue {history.user}` computes one."
        )
    elif shown.source != "cache":
        called = list_called(shown.source)
        print_line(f"No list of their own in generation {shown.generation}: its readers get {called}.")
    else:
        print_line(f"Their list in generation {shown.generation}, {_compared_with(shown)}")
    print_nonempty_columns(
        ("", "item", "score", "because", "before", "shown"),
        [
            (
                str(rank),
                entry.title or entry.item,
                "" if entry.score is None else f"{entry.score:.4f}",
                entry.because_title or entry.because or "",
                "" if shown.before is None or shown.source != "cache" else str(shown.rank_before(entry.item) or "new"),
                f"{shown.impressions[entry.item]:.2g}" if entry.item in shown.impressions else "",
            )
            for rank, entry in enumerate(shown.items, 1)
        ],
        numbers=("", "score", "before", "shown"),
    )
    if shown.withheld:
        print_line("")
        print_line("Left out now")
        rows = [(str(rank), shown.titles.get(item, item), why) for rank, item, why in shown.withheld]
        print_nonempty_columns(("", "item", "why"), rows, numbers=("",))
    if shown.left:
        print_line("")
        print_line("Left the list")
        print_nonempty_columns(
            ("before", "item"), [(str(rank), title or item) for rank, item, title in shown.left], numbers=("before",)
        )


def _print_recent(shown: "Shown") -> None:
    if shown.recent:
        some, count = shown.recent[-SHOWN_EVENTS:][::-1], len(shown.recent)
        rest = f"; the last {len(some)}" if len(some) < count else ""
        print_line("")
        print_line(f"Since that import: {format_count(count, 'event')}{rest}")
        rows = [
            (
                shown.titles.get(event.item, event.item),
                event.type,
                format_time(event.time_ms),
                "" if event.weight == 1 else _number(event.weight),
                ROLES[event.role],
            )
            for event in some
        ]
        print_nonempty_columns(("item", "type", "when", "weight", ""), rows, numbers=("weight",))
    if shown.hidden:
        print_line(f"Hidden from them: {', '.join(shown.titles.get(item, item) for item in shown.hidden)}")


def _compared_with(shown: "Shown") -> str:
    if shown.previous is None:
        return "the first one"
    if shown.before is None:
        return f"compared with {shown.previous}, in which they had none"
    return f"compared with {shown.previous}"


def _day(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().date().isoformat()
    except (ValueError, OverflowError, OSError):
        # The time may be outside the calendar.
        return f"{ms} ms"


def _number(weight: float | None) -> str:
    return "" if weight is None else f"{weight:g}"
