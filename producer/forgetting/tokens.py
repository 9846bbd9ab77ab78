"""Recognizes a user's id in the names of keys and in bytes."""

import re
from collections.abc import Iterable

import msgspec

# What an id in a text may touch. Two ids that touch one another are no id of a user.
WORD = rb"[0-9A-Za-z_\x80-\xff-]"


def is_of(name: str, user: str) -> bool:
    """Whether a key's name ends in a user's id."""
    return name.endswith(f":{user}")


def pattern(users: Iterable[str]) -> re.Pattern[bytes]:
    """Finds the ids by themselves in bytes: as text, as JSON, as msgpack."""
    forms = (form for user in users for form in _forms(user))
    return re.compile(b"|".join(forms))


def _forms(user: str) -> list[bytes]:
    text = rb"(?<!%b)%b(?!%b)" % (WORD, re.escape(user.encode()), WORD)
    found = [text, re.escape(msgspec.json.encode(user))]
    # Shorter ones would be found in any bytes.
    return [*found, re.escape(msgspec.msgpack.encode(user))] if len(user.encode()) > 4 else found
