"""How recommendations are printed, by `get` and `enqueue --wait` alike."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from producer.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.results import Answer

PLACE = ("item", "score", "because", "title")


def print_answers(answers: "Iterable[Answer]", as_json: bool) -> None:
    """Print each user's list: as an object a line, or as a table under a line that names the user."""
    for answer in answers:
        if as_json:
            print_json(as_object(answer))
        else:
            _print_list(answer)


def as_object(answer: "Answer") -> dict[str, Any]:
    """What `--json` prints for a user."""
    items = [{name: value for name, value in asdict(entry).items() if name in PLACE} for entry in answer.items]
    return asdict(answer) | {"items": items}


def _print_list(answer: "Answer") -> None:
    is_popular = answer.source == "popular"
    rest = ": no list of their own, so this is the popular one" if is_popular else ""
    print_line(f"User {answer.user}{rest}")
    rows = []
    for rank, entry in enumerate(answer.items, 1):
        score = "" if entry.score is None else f"{entry.score:.4f}"
        rows.append((str(rank), entry.item, entry.title or "", score, entry.because_title or entry.because or ""))
    columns = ("", "item", "title", "score", "because")
    shown = [i for i, name in enumerate(columns) if not name or any(row[i] for row in rows) or name == "item"]
    print_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows], numbers=("", "score"))
    print_line("")
