"""Turns the cached bytes of lists into columns, without an object for each place.

Four quotes of a plain list belong to each place: those of the item and those of the reason, and the score is between.
All quotes of all lists are found at once. Lists in any other form are decoded by their codec.
"""

from collections.abc import Collection, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.shared.wire.shapes import ScoredItem

HEAD, BETWEEN, TAIL = b'{"format":2,"items":[[', b"],[", b"]]}"
QUOTE, COMMA, SPACE = b'", '
# What a list begins and ends with, without its first and last quote.
CUT = slice(len(HEAD), -len(TAIL))


class Places(NamedTuple):
    """Places of several users, user by user, best first."""

    user: NDArray[np.intp]
    """The number of each place's user."""
    rank: NDArray[np.intp]
    """From 1."""
    item: pa.StringArray
    score: pa.FloatArray
    because: pa.StringArray


def is_plain(data: bytes) -> bool:
    """Whether a list has places and nothing else, and no quotes within ids."""
    return data.startswith(HEAD + b'"') and data.endswith(b'"' + TAIL) and b"\\" not in data


def split(lists: Sequence[bytes | None], n: int, hidden: Collection[str]) -> Places | None:
    """The first `n` places that are not hidden, of lists that are plain (`is_plain`) or None.

    None if the bytes of a list are invalid.
    """
    text = np.frombuffer(BETWEEN.join([data[CUT] for data in lists if data is not None]), np.uint8)
    counts = np.array([0 if data is None else data.count(b'"') - 4 for data in lists])
    quotes = np.flatnonzero(text == QUOTE)
    if (counts % 4).any() or counts.sum() != quotes.size or (text < SPACE).any():
        return None
    user = np.repeat(np.arange(counts.size), counts // 4)
    begin, end, because, over = quotes.reshape(-1, 4).T
    between = np.frombuffer(BETWEEN, np.uint8)
    gaps = (text[over[:-1] + 1 + at] == byte for at, byte in enumerate(between))
    commas = (text[end + 1] == COMMA) & (text[because - 1] == COMMA)
    if not commas.all() or (begin[1:] - over[:-1] != 1 + between.size).any() or not all(gap.all() for gap in gaps):
        return None
    # Items, scores, reasons and what is between them lie one after the other.
    edges = np.column_stack([begin + 1, end, end + 2, because - 1, because + 1, over]).ravel().astype(np.int32)
    offsets = pa.py_buffer(np.append(edges, edges[-1:]))
    texts = pa.Array.from_buffers(pa.string(), edges.size, [None, offsets, pa.py_buffer(text)])
    try:
        texts.validate(full=True)
        return _first(user, texts, n, hidden)
    except pa.ArrowInvalid:
        return None


def _first(user: NDArray[np.intp], texts: pa.StringArray, n: int, hidden: Collection[str]) -> Places:
    place = np.arange(user.size)
    if hidden:
        shown = pc.is_in(texts.take(pa.array(place * 6)), value_set=pa.array(hidden, pa.string()))
        place = place[~shown.to_numpy(zero_copy_only=False)]
    user = user[place]
    rank = np.arange(1, place.size + 1) - np.searchsorted(user, user)
    place, user, rank = place[rank <= n], user[rank <= n], rank[rank <= n]
    item, score, because = (texts.take(pa.array(place * 6 + at)) for at in (0, 2, 4))
    return Places(user, rank, item, score.cast(pa.float32()), because)


def gather(users: Sequence[int], lists: Sequence[Sequence[ScoredItem]]) -> Places:
    """All places of decoded lists, which are those of the users with these numbers."""
    places = list(chain.from_iterable(lists))
    number = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    return Places(
        np.array(users, np.intp)[number],
        np.arange(1, number.size + 1) - np.searchsorted(number, number),
        pa.array([place.item for place in places], pa.string()),
        pa.array(np.array([place.score for place in places], np.float32)),
        pa.array([place.because for place in places], pa.string()),
    )


def merge(some: Places, others: Places) -> Places:
    """The places of both, in the order of the users' numbers. Each user has places in one of them."""
    if not others.user.size:
        return some
    order = np.argsort(np.concatenate([some.user, others.user]), kind="stable")
    numbers = (np.concatenate(pair)[order] for pair in zip(some[:2], others[:2], strict=True))
    columns = (pa.concat_arrays(pair).take(pa.array(order)) for pair in zip(some[2:], others[2:], strict=True))
    return Places(*numbers, *columns)
