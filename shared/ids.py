"""Ids: one rule for those of users and items, for imports and calls; and fresh ones of flows and runs."""

import secrets

from reckoner.shared.errors import UsageError

MAX_ID_BYTES = 1024
# Reasons for which an id is invalid, for imported rows and for calls.
EMPTY = "is empty"
TOO_LONG = f"is over {MAX_ID_BYTES:,} bytes"

SHOWN_CHARACTERS = 40


def require_id(kind: str, text: object) -> str:
    """Return `text` if it is a valid id of a `kind`.

    Raises:
        UsageError: it is not a str, is empty, is over 1,024 bytes, or has no UTF-8 encoding.
    """
    if not isinstance(text, str):
        raise UsageError(f"The {kind} {shown(text)} is not a str: ids are strings.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"The {kind} {shown(text)} has a lone surrogate and is not valid UTF-8.") from error
    if not 0 < size <= MAX_ID_BYTES:
        raise UsageError(f"The {kind} {shown(text)} {TOO_LONG if size else EMPTY}.")
    return text


def shown(value: object) -> str:
    """The beginning of an invalid id, for messages."""
    if isinstance(value, str | bytes) and len(value) > SHOWN_CHARACTERS:
        return f"{value[:SHOWN_CHARACTERS]!a}..."
    try:
        return ascii(value)[: 2 * SHOWN_CHARACTERS]
    except ValueError:
        # An int of over 4,300 digits.
        return f"of the type {type(value).__name__}"


def fresh_id() -> str:
    """A random id for a new flow or run: a late delivery of another one never matches it."""
    return secrets.token_hex(8)
