"""Pages of what may be long: each names a cursor, with which the next one is asked for."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeVar

import msgspec

from reckoner.producer.http.problems import ProblemError

T = TypeVar("T")


def to_cursor(place: object) -> str:
    """The cursor of a place."""
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def from_cursor(cursor: str, kind: type[T]) -> T:
    """The place of a cursor.

    Raises:
        ProblemError: no page has named this cursor.
    """
    try:
        data = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(data, type=kind)
    except (ValueError, msgspec.MsgspecError):
        raise ProblemError("invalid-parameter", "The cursor is invalid. Take `next` of the page before.") from None
