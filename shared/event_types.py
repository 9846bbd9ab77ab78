"""Event types: the weight and the role of an interaction by the word for it, such as `purchase` or `view`."""

import difflib
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec

Role: TypeAlias = Literal["history", "signal", "exclude"]
"""`history` counts and is left out of lists, `signal` counts and may be shown, `exclude` only is left out."""
Nonpositive: TypeAlias = Literal["drop", "subtract", "bad"]
"""What becomes of rows with a weight of zero or below: left out, summed, or bad."""

DEFAULT: Final = "default"
# An item was shown to a user. It is no interaction: it counts in no list, and is only for rotation.
IMPRESSION: Final = "impression"
MAX_NAME_BYTES: Final = 64
SHOWN_CHARACTERS: Final = 40


class EventType(msgspec.Struct, frozen=True):
    """What an event of a type counts, and whether its item is left out of the user's list."""

    weight: float = 1.0
    role: Role = "history"
    nonpositive: Nonpositive | None = None
    """For rows of an import; None means what its option says."""

    @property
    def counts(self) -> bool:
        """Whether scores are computed from it."""
        return self.role != "exclude"

    @property
    def is_left_out(self) -> bool:
        """Whether lists leave its item out."""
        return self.role != "signal"


BUILT_IN: Final[Mapping[str, EventType]] = MappingProxyType(
    {
        "interaction": EventType(),
        "purchase": EventType(),
        "view": EventType(role="signal"),
        "dislike": EventType(role="exclude"),
    }
)


class EventTypes(msgspec.Struct, frozen=True):
    """The event types of an application: the built-in ones and its own, and what others are if they may occur."""

    by_name: Mapping[str, EventType] = BUILT_IN
    default: EventType | None = None

    def find(self, name: str) -> EventType | None:
        """The type with exactly this name, else the default; None without one."""
        return self.by_name.get(name, self.default)

    def nearest(self, name: str) -> str | None:
        """The known name that is most similar, None if there is none."""
        folded = {known.casefold(): known for known in self.by_name}
        near = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
        return folded[near[0]] if near else None


def check_name(name: str) -> None:
    """Check the name of an event type.

    Raises:
        ValueError: it is empty, too long, or not UTF-8 text.
    """
    if not name:
        raise ValueError("an event type needs a name, but one is empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError("the name of an event type is not UTF-8 text") from None
    if size > MAX_NAME_BYTES:
        raise ValueError(f"the event type {_shown(name)} has a name over {MAX_NAME_BYTES} bytes")


def parse_event_types(text: str) -> EventTypes:
    """The event types of the setting `event_types`: JSON such as `{"purchase": {"weight": 3, "role": "history"}}`.

    Those given replace or join the built-in ones; empty text gives these only. `default` is for all others.

    Raises:
        ValueError: the text is not such JSON, or a type is invalid; the message has no full stop.
    """
    try:
        table = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise ValueError('expected JSON, as in {"purchase": {"weight": 3, "role": "history"}}')
    given = {name: _event_type(name, fields) for name, fields in table.items()}
    default = given.pop(DEFAULT, None)
    return EventTypes(MappingProxyType({**BUILT_IN, **given}), default)


def _event_type(name: str, fields: Any) -> EventType:
    check_name(name)
    shown = _shown(name)
    if name == IMPRESSION:
        raise ValueError(f"the name {shown} is reserved: it says that an item was shown, which counts in no list")
    if not isinstance(fields, dict):
        raise ValueError(f'the event type {shown} is not a table, as in {{ weight = 3, role = "history" }}')
    if unknown := sorted(fields.keys() - set(EventType.__struct_fields__)):
        known = ", ".join(EventType.__struct_fields__)
        raise ValueError(f"the event type {shown} has the field {_shown(unknown[0])}, which is none of {known}")
    role = fields.get("role", "history")
    if role not in get_args(Role):
        raise ValueError(f"the role of the event type {shown} is none of {', '.join(get_args(Role))}")
    nonpositive = fields.get("nonpositive")
    if "nonpositive" in fields and nonpositive not in get_args(Nonpositive):
        raise ValueError(f"nonpositive of the event type {shown} is none of {', '.join(get_args(Nonpositive))}")
    if role == "exclude" and (given := fields.keys() - {"role"}):
        raise ValueError(f"the event type {shown} has a {min(given)}, but the role exclude does not count")
    return EventType(_weight(shown, fields.get("weight", 1.0)), role, nonpositive)


def _weight(shown: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the weight of the event type {shown} is not a number")
    try:
        weight = float(value)
    except OverflowError:
        weight = math.inf
    if not math.isfinite(weight) or weight <= 0:
        raise ValueError(f"the weight of the event type {shown} is not a finite number above zero")
    return weight


def _shown(name: str) -> str:
    """A name in a sentence, without line breaks."""
    return repr(name if len(name) <= SHOWN_CHARACTERS else name[:SHOWN_CHARACTERS] + "…")
