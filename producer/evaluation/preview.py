"""A preview: the lists of two sides for some users, how alike they are, and who gains exposure."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reckoner.producer.evaluation.exposure import Exposure, exposure
from reckoner.producer.evaluation.overlap import Overlap, overlap
from reckoner.producer.evaluation.sides import Place, Side, lists_of
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.shared.errors import UserUnknownError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import Snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

# The share of the catalogue that is its head.
HEAD = 0.2

List = list[Place] | None


@dataclass(frozen=True)
class Preview:
    """Two sides, compared by the lists of the sampled users.

    Pairs are of the first side and the second one, which is what was before.
    """

    sides: tuple[Side, Side]
    places: int
    """The number of places that are compared."""
    sampled: int
    without_list: tuple[int, int]
    """The sampled users without a list, who get the popular one."""
    overlap: Overlap
    exposure: Exposure
    shown: dict[str, tuple[List, List]]
    """The lists of the shown users, None for one who is not in a side's data."""
    titles: dict[str, str]
    """Of all items that are shown, as far as they have any."""


async def preview(
    reckoner: "OpenReckoner",
    store: Store,
    sides: tuple[Side, Side],
    users: Sequence[str],
    *,
    random: int,
    sample: int,
    seed: int,
    places: int,
    progress: Progress,
) -> Preview:
    """Compare two sides by `sample` users drawn from those in both, and show `users` and `random` of the drawn ones.

    Equal data, sides and seeds give equal previews.

    Raises:
        UserUnknownError: a user is in the data of neither side; see `lists_of` for other errors.
    """
    progress("Drawing users", "", 0, None)
    for user in users:
        if all(side.snapshot.users.find(user) is None for side in sides):
            raise UserUnknownError(f"User {user} is not in the data.")
    drawn = await asyncio.to_thread(draw, sides, sample, seed)
    shown = list(dict.fromkeys([*users, *drawn[:random]]))
    asked = list(dict.fromkeys([*shown, *drawn]))
    found = [await lists_of(reckoner, store, side, asked, places, progress) for side in sides]
    one, other = ([[place.item for place in lists[user] or ()] for user in drawn] for lists in found)
    heads = await asyncio.to_thread(lambda: (head_of(sides[0].snapshot), head_of(sides[1].snapshot)))
    changes = exposure(one, other, heads)
    lists = {user: (found[0][user], found[1][user]) for user in shown}
    items = {item for pair in lists.values() for places_ in pair for place in places_ or () for item in place}
    items |= {change.item for change in (*changes.gains, *changes.losses)}
    return Preview(
        *(sides, places, len(drawn), (one.count([]), other.count([])), overlap(one, other), changes),
        *(lists, _titles(sides, sorted(items))),
    )


def draw(sides: tuple[Side, Side], count: int, seed: int) -> list[str]:
    """At most `count` users who are in the data of both sides, drawn with a seed, in the order of the draw."""
    first, second = (side.snapshot for side in sides)
    order, drawn = np.argsort(np.random.PCG64(seed).random_raw(first.n_users), kind="stable"), list[str]()
    for index in order.tolist():
        if len(drawn) == count:
            break
        user = first.users[index]
        if first.id == second.id or second.users.find(user) is not None:
            drawn.append(user)
    return drawn


def head_of(snapshot: Snapshot) -> Callable[[str], bool]:
    """A function that says whether an item is in the head: the most popular fifth of the snapshot's items."""
    in_head = np.zeros(snapshot.n_items, np.bool_)
    in_head[snapshot.popular(math.ceil(HEAD * snapshot.n_items))] = True

    def holds(item: str) -> bool:
        index = snapshot.items.find(item)
        return index is not None and bool(in_head[index])

    return holds


def _titles(sides: tuple[Side, Side], items: Sequence[str]) -> dict[str, str]:
    found = dict[str, str]()
    for snapshot in (side.snapshot for side in sides):
        for item in items:
            index = snapshot.items.find(item) if item not in found else None
            if index is not None and (title := snapshot.title(index)):
                found[item] = title
    return found
