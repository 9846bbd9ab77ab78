"""Names of lists that are the same for all users, such as `trending:shoes`, and the chain of those to fall back to."""

import csv
from typing import Final

from reckoner.shared.errors import UsageError
from reckoner.shared.ids import shown

# How items are ordered. `KIND:TAG` is the list of the items with a tag.
KINDS: Final = ("popular", "trending", "latest")
POPULAR: Final = "popular"


def parse_fallback(text: str) -> tuple[str, ...]:
    """The names in a text such as `trending:shoes, popular`, in which they are separated by commas, as in CSV.

    Raises:
        ValueError: there is none, or one is no name of a list.
    """
    try:
        [names] = csv.reader([text], strict=True, skipinitialspace=True)
    except (csv.Error, ValueError):
        raise ValueError("it is not one line of names, separated by commas and quoted as in CSV") from None
    found = tuple(name for part in names if (name := part.strip()))
    if not found:
        raise ValueError("it names no list")
    for name in found:
        kind, colon, tag = name.partition(":")
        if kind not in KINDS or (colon and not tag):
            raise ValueError(f"lists are {', '.join(KINDS)}, or of a tag, as in latest:TAG")
    return found


def require_fallback(text: str) -> tuple[str, ...]:
    """The names in a text; see `parse_fallback`.

    Raises:
        UsageError: the text is invalid.
    """
    try:
        return parse_fallback(text)
    except ValueError as error:
        raise UsageError(f"The fallback {shown(text)} is invalid: {error}.") from None
