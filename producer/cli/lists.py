"""Prints recommendations, for `get` and `enqueue --wait`."""

from typing import TYPE_CHECKING, Any

from reckoner.producer.cli.output import print_json, print_line, print_nonempty_columns
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reckoner.producer.client.answers import BasketAnswer, NamedList
    from reckoner.shared.serving.results import Answer, Entry

# The sources of a list that is not the same for all users.
OWN = ("cache", "filtered")
PLACE = ("item", "score", "because", "title")


def print_answers(answers: "Iterable[Answer]", as_json: bool, *, filtered: bool = False) -> None:
    """Print each user's list, maybe `filtered`, as one JSON object a line or as a table."""
    for answer in answers:
        if as_json:
            print_json(as_object(answer))
        else:
            _print_list(answer, filtered)


def as_object(answer: "Answer | BasketAnswer | NamedList") -> dict[str, Any]:
    """The JSON object for a user, a basket or a named list."""
    import msgspec

    items = [{name: getattr(entry, name) for name in PLACE} for entry in answer.items]
    shown: dict[str, Any] = msgspec.to_builtins(answer)
    return shown | {"items": items}


def _print_list(answer: "Answer", filtered: bool) -> None:
    why = "nothing of a list of their own passes" if filtered else "no list of their own"
    print_line(f"User {answer.user}{_described(answer, why, filtered)}")
    print_places(answer.items)
    print_left_out(answer.left_out, filtered=filtered)
    if answer.unknown:
        print_line(f"Not in the data yet: {', '.join(answer.unknown)}")


def _described(answer: "Answer | BasketAnswer", why: str, filtered: bool) -> str:
    """What list an answer is, and why it is not one of one's own."""
    from reckoner.producer.sentences import list_called

    if answer.source in OWN:
        return ""
    if not answer.items:
        return ": nothing passes" if filtered else ": nothing to show"
    return f": {why}, so this is {list_called(answer.source)}"


def print_left_out(places: int, *, filtered: bool = False) -> None:
    """Say how many places are not shown."""
    if places:
        why = "which the user has had since, or which are hidden"
        why += " or do not pass" if filtered else ""
        print_line(f"Left out: {format_count(places, 'place')}, {why}.")


def print_basket(answer: "BasketAnswer", as_json: bool, *, filtered: bool = False) -> None:
    """Print a basket's list like `print_answers`."""
    if as_json:
        print_json(as_object(answer))
        return
    why = "no similar items that pass" if filtered else "no similar items"
    print_line(f"Basket of {format_count(len(answer.basket), 'item')}{_described(answer, why, filtered)}")
    if answer.unknown:
        print_line(f"Not in the data: {', '.join(answer.unknown)}")
    print_places(answer.items)
    print_left_out(answer.left_out, filtered=filtered)


def print_places(places: "Iterable[Entry]") -> None:
    """Print the places of a list as a table."""
    rows = []
    for rank, entry in enumerate(places, 1):
        score = "" if entry.score is None else f"{entry.score:.4f}"
        rows.append((str(rank), entry.item, entry.title or "", score, entry.because_title or entry.because or ""))
    print_nonempty_columns(("", "item", "title", "score", "because"), rows, numbers=("", "score"))
    print_line("")
