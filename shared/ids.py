"""Ids: which texts can name a user, an item, or whatever else is asked for by name: one rule for imports and calls."""

from reckoner.shared.errors import UsageError

MAX_ID_BYTES = 1024
# What is wrong with an id, in the same words for a row that is imported and for what somebody asks.
EMPTY = "is empty"
TOO_LONG = f"is over {MAX_ID_BYTES:,} bytes"

SHOWN_CHARACTERS = 40


def require_id(kind: str, text: object) -> str:
    """An id as it was given, which is that of a `kind`.

    Raises:
        UsageError: it is no text, is empty or over 1,024 bytes, or cannot be written as UTF-8.
    """
    if not isinstance(text, str):
        raise UsageError(f"The {kind} {shown(text)} is no text, and ids are texts: give it as a str.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The {kind} {shown(text)} has half of a surrogate pair, so it is no text that can be an id."
        ) from error
    if not 0 < size <= MAX_ID_BYTES:
        raise UsageError(f"The {kind} {shown(text)} {TOO_LONG if size else EMPTY}.")
    return text


def shown(value: object) -> str:
    """The beginning of what cannot be an id, in a sentence that says so."""
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]!a}..."
    return ascii(value)[: 2 * SHOWN_CHARACTERS]
