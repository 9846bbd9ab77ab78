"""Encodes users' lists as the JSON that is cached, and packs them as the commands that cache them.

The bytes are those of the codec `RESULT`: `{"format":2,"items":[["item",score,"reason"],...]}`.
"""

from typing import Any, NamedTuple

import hiredis
import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_INT64,
    WRITE_UINT8,
    Index,
    compiled,
)
from reckoner.workers.kernels.encoding.decimals import MOST_BYTES, write_decimal
from reckoner.workers.kernels.scoring.merge import Partial

ONE, TEN = np.uint64(1), np.uint64(10)
HEAD, TAIL = (np.frombuffer(text, np.uint8) for text in (b'{"format":2,"items":[', b"]}"))
QUOTE, BACKSLASH, COMMA, OPEN, CLOSE = (np.uint8(character) for character in b'"\\,[]')
SPACE, ZERO, LETTER_U = (np.uint8(character) for character in b" 0u")
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
# The letter of each control character that has a short escape, 0 for the others.
SHORT = np.zeros(32, np.uint8)
SHORT[[8, 9, 10, 12, 13]] = np.frombuffer(b"btnfr", np.uint8)
# An escaped byte takes at most six; a place two pairs of quotes, two brackets and three commas.
MOST_ESCAPED, MOST_PUNCTUATION = 6, 9
# The lengths of a key and of a value, each with "$" and line ends.
MOST_LENGTHS = 2 * (1 + 20 + 4)


class EncodedLists(NamedTuple):
    """Encoded lists, concatenated: `values` uint8, and `ends` int64[users] with the end of each."""

    values: NDArray[np.uint8]
    ends: NDArray[np.int64]


def encode_lists(best: Partial, offsets: NDArray[np.int64], blob: NDArray[np.uint8]) -> EncodedLists:
    """Encode each user's list.

    Item k's id is the UTF-8 in `blob`, uint8, from offsets[k] to offsets[k + 1], int64[I + 1].
    """
    lengths = offsets[1:] - offsets[:-1]
    ids = int(lengths[best.items].sum() + lengths[best.reasons].sum())
    room = best.counts.size * (HEAD.size + TAIL.size) + best.items.size * (MOST_BYTES + MOST_PUNCTUATION)
    values, ends = np.empty(room + MOST_ESCAPED * ids, np.uint8), np.empty(best.counts.size, np.int64)
    _encode(*best, offsets, blob, HEAD, TAIL, HEX, SHORT, values, ends)
    return EncodedLists(values[: int(ends[-1]) if ends.size else 0], ends)


def pack_lists(
    lists: EncodedLists, offsets: NDArray[np.int64], blob: NDArray[np.uint8], key_prefix: str, ttl_s: int
) -> memoryview:
    """Pack one `SET key value EX ttl_s` for each user, in the protocol of Redis.

    User k's key is `key_prefix` and the UTF-8 in `blob`, uint8, from offsets[k] to offsets[k + 1], int64[users + 1].
    """
    command: tuple[Any, ...] = ("SET", "", "", "EX", ttl_s)
    around = hiredis.pack_command(command).split(b"$0\r\n\r\n")
    before, prefix, after = (np.frombuffer(text, np.uint8) for text in (around[0], key_prefix.encode(), around[-1]))
    ids, fixed = int(offsets[-1] - offsets[0]), before.size + prefix.size + after.size + MOST_LENGTHS
    packed = np.empty(lists.values.size + ids + lists.ends.size * fixed, np.uint8)
    return packed[: _pack(*lists, offsets, blob, before, prefix, after, packed)].data


@compiled(types.uint64(WRITE_UINT8, types.uint64, READ_UINT8, types.uint64, types.uint64), inner=True)
def _write(buffer: NDArray[np.uint8], at: Index, text: NDArray[np.uint8], begin: Index, end: Index) -> Index:
    """Copy text[begin:end] to `at`. Returns the end."""
    for k in range(begin, end):
        buffer[at] = text[k]
        at += ONE
    return at


@compiled(
    types.uint64(WRITE_UINT8, types.uint64, READ_UINT8, types.uint64, types.uint64, READ_UINT8, READ_UINT8),
    inner=True,
)
def _write_escaped(
    buffer: NDArray[np.uint8],
    at: Index,
    text: NDArray[np.uint8],
    begin: Index,
    end: Index,
    hexadecimal: NDArray[np.uint8],
    short: NDArray[np.uint8],
) -> Index:
    """Write text[begin:end] as a JSON string at `at`. Returns the end."""
    buffer[at] = QUOTE
    at += ONE
    for k in range(begin, end):
        character = text[k]
        if character >= SPACE and character != QUOTE and character != BACKSLASH:
            buffer[at] = character
            at += ONE
            continue
        buffer[at] = BACKSLASH
        if character >= SPACE:
            buffer[at + ONE] = character
            at += np.uint64(2)
        elif short[character] != 0:
            buffer[at + ONE] = short[character]
            at += np.uint64(2)
        else:
            buffer[at + ONE] = LETTER_U
            buffer[at + np.uint64(2)] = buffer[at + np.uint64(3)] = ZERO
            buffer[at + np.uint64(4)] = hexadecimal[character >> 4]
            buffer[at + np.uint64(5)] = hexadecimal[character & 15]
            at += np.uint64(MOST_ESCAPED)
    buffer[at] = QUOTE
    return at + ONE


@compiled(
    types.void(
        *(READ_UINT32, READ_UINT32, READ_FLOAT32, READ_UINT32, READ_INT64, READ_UINT8),
        *(READ_UINT8, READ_UINT8, READ_UINT8, READ_UINT8, WRITE_UINT8, WRITE_INT64),
    )
)
def _encode(
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    scores: NDArray[np.float32],
    reasons: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    blob: NDArray[np.uint8],
    head: NDArray[np.uint8],
    tail: NDArray[np.uint8],
    hexadecimal: NDArray[np.uint8],
    short: NDArray[np.uint8],
    values: NDArray[np.uint8],
    ends: NDArray[np.int64],
) -> None:
    """Write all users' lists into `values`."""
    at, place = np.uint64(0), np.uint64(0)
    for user in range(counts.size):
        at = _write(values, at, head, np.uint64(0), np.uint64(head.size))
        for n in range(np.uint64(counts[user])):
            if n > 0:
                values[at] = COMMA
                at += ONE
            values[at] = OPEN
            item, reason = np.uint64(items[place]), np.uint64(reasons[place])
            begin, end = np.uint64(offsets[item]), np.uint64(offsets[item + ONE])
            at = _write_escaped(values, at + ONE, blob, begin, end, hexadecimal, short)
            values[at] = COMMA
            at = write_decimal(values, at + ONE, scores[place])
            values[at] = COMMA
            begin, end = np.uint64(offsets[reason]), np.uint64(offsets[reason + ONE])
            at = _write_escaped(values, at + ONE, blob, begin, end, hexadecimal, short)
            values[at] = CLOSE
            at += ONE
            place += ONE
        at = _write(values, at, tail, np.uint64(0), np.uint64(tail.size))
        ends[user] = at


@compiled(types.uint64(WRITE_UINT8, types.uint64), inner=True)
def _write_line_end(buffer: NDArray[np.uint8], at: Index) -> Index:
    buffer[at], buffer[at + ONE] = np.uint8(13), np.uint8(10)
    return at + np.uint64(2)


@compiled(types.uint64(WRITE_UINT8, types.uint64, types.uint64), inner=True)
def _write_length(buffer: NDArray[np.uint8], at: Index, length: Index) -> Index:
    """Write a bulk string's length with its line end. Returns the end."""
    buffer[at] = np.uint8(ord("$"))
    end, rest = at + ONE, length
    while rest >= TEN:
        rest //= TEN
        end += ONE
    place, rest = end, length
    for _ in range(end - at):
        buffer[place] = ZERO + np.uint8(rest % TEN)
        rest //= TEN
        place -= ONE
    return _write_line_end(buffer, end + ONE)


@compiled(types.int64(READ_UINT8, READ_INT64, READ_INT64, READ_UINT8, READ_UINT8, READ_UINT8, READ_UINT8, WRITE_UINT8))
def _pack(
    values: NDArray[np.uint8],
    ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
    blob: NDArray[np.uint8],
    before: NDArray[np.uint8],
    prefix: NDArray[np.uint8],
    after: NDArray[np.uint8],
    packed: NDArray[np.uint8],
) -> int:
    """Write a command for each user. Returns the end."""
    at, value = np.uint64(0), np.uint64(0)
    for user in range(ends.size):
        begin, end = np.uint64(offsets[user]), np.uint64(offsets[user + 1])
        at = _write(packed, at, before, np.uint64(0), np.uint64(before.size))
        at = _write_length(packed, at, np.uint64(prefix.size) + end - begin)
        at = _write(packed, at, prefix, np.uint64(0), np.uint64(prefix.size))
        at = _write_line_end(packed, _write(packed, at, blob, begin, end))
        at = _write_length(packed, at, np.uint64(ends[user]) - value)
        at = _write_line_end(packed, _write(packed, at, values, value, np.uint64(ends[user])))
        at = _write(packed, at, after, np.uint64(0), np.uint64(after.size))
        value = np.uint64(ends[user])
    return int(at)
