"""`reckoner show`: what a user had, what is recommended to them and why, beside what the generation before had."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.edge import complete, connect, identifier
from reckoner.producer.cli.output import counted, print_filled, print_json, print_line, say
from reckoner.producer.cli.users import AsJson, Places
from reckoner.producer.cli.work import minding_workers

if TYPE_CHECKING:
    from reckoner.producer.client.answers import UserHistory
    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.shared.serving.results import Entry, Source


@dataclass(frozen=True)
class Shown:
    """A user: their history, their list, and where its places were in the list of the generation before."""

    history: "UserHistory"
    source: "Source"
    items: "list[Entry]"
    previous: str | None
    """The generation before, None where there is none."""
    before: list[str] | None
    """The items of the list that the user had in it, None where they had none."""
    left: list[tuple[int, str, str | None]]
    """Rank, item and title of those of them that the list of now has no more."""

    def rank_before(self, item: str) -> int | None:
        """Where an item was in the list before, None where it was not there."""
        return self.before.index(item) + 1 if self.before and item in self.before else None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)


def show(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    n: Places = None,
    as_json: AsJson = False,
) -> None:
    """Show what a user had, their list and why, and what has changed in it.

    The list is the one in the cache, beside that of the previous generation.
    What the user had is asked of the workers.

    Example: reckoner show 601 -n 5
    """
    from reckoner.shared.settings import load_settings

    settings, wanted = load_settings(), identifier("user", user)

    async def look() -> Shown:
        async with connect(settings) as reckoner, minding_workers(reckoner, say):
            return await _look(reckoner, wanted, n)

    shown = complete(look())
    if as_json:
        print_json(_as_object(shown))
    else:
        _print(shown)


async def _look(reckoner: "Reckoner", user: str, n: int | None) -> Shown:
    record, places = await reckoner.reach(n)
    history = await reckoner.history(user, places)
    results = reckoner.results
    now = await results.read(record.generation, [user])
    [(source, items)] = await results.lists(now, places, record)
    pointed = await results.generations.follow(reckoner.keys.previous)
    previous = pointed.generation
    before = left = None
    if previous is not None:
        before = next((r for r in await results.read(previous, [user]) if r), None)
    items_before = None if before is None else [place.item for place in before.items]
    has = {place.item for result in now if result for place in result.items}
    left = [(rank, item) for rank, item in enumerate((items_before or [])[:places], 1) if item not in has]
    titles = await results.titles((pointed.record or record).snapshot, [item for _, item in left])
    gone = [(rank, item, titles.get(item)) for rank, item in left]
    return Shown(history, source, items, previous, items_before, gone)


def _as_object(shown: Shown) -> dict[str, Any]:
    from dataclasses import asdict

    history = asdict(shown.history)
    places = [
        {"item": e.item, "score": e.score, "because": e.because, "title": e.title, "before": shown.rank_before(e.item)}
        for e in shown.items
    ]
    return {
        "user": history["user"],
        "generation": history["generation"],
        "previous": shown.previous,
        "had": history["count"],
        "history": history["items"],
        "source": shown.source,
        "items": places,
        "had_list_before": shown.before is not None,
        "left": [{"item": item, "title": title, "before": rank} for rank, item, title in shown.left],
    }


def _print(shown: Shown) -> None:
    history = shown.history
    end = "last" if any(had.time_ms is not None for had in history.items) else "first"
    some = f"; the {end} {len(history.items)}" if len(history.items) < history.count else ""
    print_line(f"User {history.user} had {counted(history.count, 'item')}{some}")
    rows = [
        (had.title or had.item, "" if had.time_ms is None else _day(had.time_ms), _number(had.weight))
        for had in history.items
    ]
    print_filled(("had", "when", "weight"), rows, numbers=("weight",))
    print_line("")
    if shown.source == "popular":
        print_line(
            "No list of their own, so readers get the popular one; "
            f"`reckoner enqueue {history.user}` computes it, where there is something to go by."
        )
    else:
        print_line(f"Their list in generation {history.generation}, {_compared_with(shown)}")
    print_filled(
        ("", "item", "score", "because", "before"),
        [
            (
                str(rank),
                entry.title or entry.item,
                "" if entry.score is None else f"{entry.score:.4f}",
                entry.because_title or entry.because or "",
                ""
                if shown.before is None or shown.source == "popular"
                else str(shown.rank_before(entry.item) or "new"),
            )
            for rank, entry in enumerate(shown.items, 1)
        ],
        numbers=("", "score", "before"),
    )
    if shown.left:
        print_line("")
        print_line("No more in it")
        print_filled(
            ("before", "item"), [(str(rank), title or item) for rank, item, title in shown.left], numbers=("before",)
        )


def _compared_with(shown: Shown) -> str:
    if shown.previous is None:
        return "before which there was none"
    if shown.before is None:
        return f"beside {shown.previous}, in which they had none"
    return f"beside {shown.previous}"


def _day(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000).astimezone().date().isoformat()
    except (ValueError, OverflowError, OSError):
        # Data may have times that no calendar has.
        return f"{ms} ms"


def _number(weight: float | None) -> str:
    return "" if weight is None else f"{weight:g}"
