"""`reckoner show`: a user's history and list, compared with the previous generation."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.arguments import AsJson, InGeneration, Places
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.lists import list_called
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import format_count, format_time, print_json, print_line, print_nonempty_columns, say

if TYPE_CHECKING:
    from reckoner.producer.client.answers import RecentEvent, UserHistory
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.serving.results import Entry, Reading, Source
    from reckoner.shared.wire.shapes import Record

SHOWN_EVENTS = 10
ROLES = {"history": "", "signal": "may be shown again", "exclude": "does not count"}


@dataclass(frozen=True)
class Shown:
    """A user's history and list, with the list of the previous generation."""

    generation: str
    is_live: bool
    history: "UserHistory"
    source: "Source"
    items: "list[Entry]"
    left_out: int
    """The number of places that are not shown to the user now."""
    previous: str | None
    """The generation that the list is compared with, if any."""
    before: list[str] | None
    """The items of the user's list in the previous generation, if they had one."""
    left: list[tuple[int, str, str | None]]
    """Rank, item and title of the items that left the list."""
    recent: "list[RecentEvent]"
    """The user's events that the history does not hold."""
    hidden: list[str]
    """The items that are hidden from the user."""
    withheld: list[tuple[int, str, str]]
    """Rank, item and reason of the places that are not shown to the user now."""
    impressions: dict[str, float]
    """How often items were shown to the user, as it counts for rotation now."""
    titles: dict[str, str]
    """The titles of the items above."""

    def rank_before(self, item: str) -> int | None:
        """The item's rank in the previous list, if it was there."""
        return self.before.index(item) + 1 if self.before and item in self.before else None


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

    async def look(reckoner: "OpenReckoner") -> Shown:
        async with warn_of_outages(reckoner, say):
            return await _look(reckoner, wanted, n, generation)

    shown = run_connected(look)
    if as_json:
        print_json(_as_object(shown))
    else:
        _print(shown)


async def _look(reckoner: "OpenReckoner", user: str, n: int | None, generation: str | None) -> Shown:
    record, places = await reckoner.reach(n, generation)
    recent, hides = await reckoner.recent(user), await reckoner.hidden_for(user)
    history = await _history(reckoner, record, user, places, is_known=bool(recent or hides))
    results = reckoner.results
    now, impressions = await results.read_shown(record.generation, [user]), await reckoner.impressions(user)
    if reckoner.rotation is not None:
        now = reckoner.rotation.rotated(now, [impressions])
    [(source, items, left_out)] = await results.lists(now, places, record)
    keys = reckoner.keys
    pointed = await results.generations.follow(keys.previous if generation is None else keys.current)
    previous = pointed.generation if pointed.generation != record.generation else None
    before = None
    if previous is not None:
        before = next((r for r in await results.read(previous, [user]) if r), None)
    items_before = None if before is None else [place.item for place in before.items]
    has = {place.item for result in now.results if result for place in result.items}
    left = [(rank, item) for rank, item in enumerate((items_before or [])[:places], 1) if item not in has]
    titles = await results.titles((pointed.record or record).snapshot, [item for _, item in left])
    gone = [(rank, item, titles.get(item)) for rank, item in left]
    withheld = _withheld(now, recent, hides)
    others = [*(event.item for event in recent), *hides, *(item for _, item, _ in withheld)]
    return Shown(
        record.generation,
        generation is None,
        history,
        source,
        items,
        left_out,
        previous,
        items_before,
        gone,
        recent,
        hides,
        withheld,
        impressions,
        await results.titles(record.snapshot, list(dict.fromkeys(others))),
    )


async def _history(reckoner: "OpenReckoner", record: "Record", user: str, n: int, *, is_known: bool) -> "UserHistory":
    """The user's history, empty for one who `is_known` by events only.

    Raises:
        UserUnknownError: the user is neither in the data nor known.
    """
    from reckoner.producer.client.answers import UserHistory
    from reckoner.shared.errors import UserUnknownError

    try:
        return await reckoner.history(user, n)
    except UserUnknownError:
        if not is_known:
            raise
        return UserHistory(user, record.generation, 0, [])


def _withheld(now: "Reading", recent: "list[RecentEvent]", hides: list[str]) -> list[tuple[int, str, str]]:
    [result], [left] = now.results, now.left
    reasons: dict[str, str] = dict.fromkeys(now.hidden, "hidden from everybody")
    reasons |= {event.item: f"{event.type} since" for event in recent if event.item in left}
    reasons |= dict.fromkeys(hides, "hidden from them")
    places = enumerate(result.items if result else [], 1)
    return [(rank, place.item, reasons[place.item]) for rank, place in places if place.item in reasons]


def _as_object(shown: Shown) -> dict[str, Any]:
    from dataclasses import asdict

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


def _print(shown: Shown) -> None:
    history = shown.history
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


def _print_recent(shown: Shown) -> None:
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


def _compared_with(shown: Shown) -> str:
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
