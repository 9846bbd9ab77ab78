"""Prints a preview: what changes for the sampled users, and the lists of the shown ones side by side."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from reckoner.producer.cli.output import print_facts, print_line, print_nonempty_columns
from reckoner.producer.evaluation.exposure import Change
from reckoner.producer.evaluation.preview import List, Preview
from reckoner.producer.evaluation.sides import Side
from reckoner.producer.formats import format_count


def print_preview(preview: Preview) -> None:
    """Print a preview. What is now is of the first side, what was before of the second one."""
    one, other = preview.sides
    changes, alike = preview.exposure, preview.overlap
    print_line(f"{one.name}, compared with {other.name}, by the first {format_count(preview.places, 'place')} of lists")
    print_facts([
        ("snapshot", f"{one.snapshot.id} (before {other.snapshot.id})"),
        ("recency", f"{one.recency:g} (before {other.recency:g})"),
        ("users", f"{preview.sampled:,} drawn; without a list: {_pair(preview.without_list)}"),
        ("overlap", f"{alike.shared:.1%} of the places are in both lists, {alike.equal:.1%} of the lists are equal"),
        ("rank-biased", f"{alike.rank_biased:.3f}, the overlap that counts the first places more, at most 1"),
        ("items", f"different ones shown: {_pair(changes.items)}"),
        ("head", f"{_shares(changes.head)} of the places have one of the most popular fifth of the items"),
    ])  # fmt: skip
    for name, found in (("gains exposure", changes.gains), ("loses exposure", changes.losses)):
        if found:
            print_line("")
            _print_changes(name, found, preview.titles)
    for user, lists in preview.shown.items():
        print_line("")
        _print_side_by_side(user, lists, preview)


def _pair(counts: tuple[int, int]) -> str:
    return f"{counts[0]:,} (before {counts[1]:,})"


def _shares(shares: tuple[float, float]) -> str:
    return f"{shares[0]:.1%} (before {shares[1]:.1%})"


def _print_changes(name: str, changes: Sequence[Change], titles: dict[str, str]) -> None:
    rows = [(titles.get(one.item, one.item), f"{one.now:.2%}", f"{one.before:.2%}") for one in changes]
    print_nonempty_columns((name, "of all places", "before"), rows, numbers=("of all places", "before"))


def _print_side_by_side(user: str, lists: tuple[List, List], preview: Preview) -> None:
    """Print a user's lists: for each item of the first side its rank on the second one, if that has a list."""
    one, other = lists
    ranks = {place.item: str(rank) for rank, place in enumerate(other or (), 1)}
    print_line(f"User {user}")
    for side, found in zip(preview.sides, lists, strict=True):
        if not found:
            why = "not in its data" if found is None else "no list of their own"
            print_line(f"{side.name}: {why}, readers get the popular list")
    rows = []
    for rank, (now, before) in enumerate(zip_longest(one or (), other or ()), 1):
        rank_before = (ranks.get(now.item, "new") if ranks else "") if now else ""
        cells = [preview.titles.get(item, item) for place in (now, before) for item in place or ("", "")]
        rows.append((str(rank), *cells[:2], rank_before, *cells[2:]))
    columns = ("", preview.sides[0].name, "because", "before", preview.sides[1].name, "because")
    print_nonempty_columns(columns, rows, numbers=("", "before"))


def as_object(preview: Preview) -> dict[str, Any]:
    """The JSON object of a preview."""
    changes = preview.exposure
    return {
        "sides": [_side(side) for side in preview.sides],
        "places": preview.places,
        "sampled": preview.sampled,
        "without_list": preview.without_list,
        "overlap": preview.overlap._asdict(),
        "exposure": {
            "items": changes.items,
            "head": changes.head,
            "gains": [_change(change, preview.titles) for change in changes.gains],
            "losses": [_change(change, preview.titles) for change in changes.losses],
        },
        "users": [
            {"user": user, "lists": [_places(found, preview.titles) for found in lists]}
            for user, lists in preview.shown.items()
        ],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "generation": side.generation,
        "model": side.model,
        "snapshot": side.snapshot.id,
        "recency": side.recency,
    }


def _change(change: Change, titles: dict[str, str]) -> dict[str, Any]:
    return change._asdict() | {"title": titles.get(change.item)}


def _places(found: List, titles: dict[str, str]) -> list[dict[str, Any]] | None:
    if found is None:
        return None
    return [
        place._asdict() | {"title": titles.get(place.item), "because_title": titles.get(place.because)}
        for place in found
    ]
