"""Filters: what a request keeps of a list, or leaves out."""

from collections.abc import Collection
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from reckoner.shared.errors import UsageError
from reckoner.shared.ids import MAX_ID_BYTES, require_id, shown

MAX_TAGS = 100
MAX_EXCLUDED = 1_000
# The places of a list from which the best are chosen that are not alike.
MAX_PLACES = 200
# The maximum of bytes of a filter's tags and items: a dead letter holds the whole job.
MAX_FILTER_BYTES = 65_536

# An id has at most as many characters as bytes.
_Id = Annotated[str, Meta(max_length=MAX_ID_BYTES)]
Tags = Annotated[tuple[_Id, ...], Meta(max_length=MAX_TAGS)]
Items = Annotated[tuple[_Id, ...], Meta(max_length=MAX_EXCLUDED)]


class Filter(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A list has only items with any tag of `only`, if there are some, and none with a tag of `without`.

    It has none of the items `exclude`. All are distinct and in the order of their bytes; see `filter_of`.
    """

    only: Tags = ()
    without: Tags = ()
    exclude: Items = ()
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """How much less a place counts for being similar to those before it; 0 for not at all."""
    max_per_tag: Annotated[int, Meta(ge=0)] = 0
    """The most places of a tag, 0 for any number. Readers see to it."""
    long: bool = False
    """Whether the cached list has `MAX_PLACES` places, if there are as many: for readers that leave some out."""

    def __post_init__(self) -> None:
        if (size := self.size) > MAX_FILTER_BYTES:
            raise ValueError(
                f"The tags and items of a filter have {size:,} bytes. At most {MAX_FILTER_BYTES:,} are supported."
            )

    @property
    def size(self) -> int:
        """The bytes of all tags and items."""
        return sum(
            len(text.encode(errors="replace")) for some in (self.only, self.without, self.exclude) for text in some
        )

    @property
    def reads_tags(self) -> bool:
        """Whether items pass by their tags."""
        return bool(self.only or self.without)

    @property
    def pool(self) -> int:
        """The least number of the best places that a job looks at."""
        return MAX_PLACES if self.long or self.diversity else 0

    @property
    def job(self) -> "Filter":
        """The filter of the job for such a list."""
        return structs.replace(self, max_per_tag=0, long=True) if self.max_per_tag else self

    @property
    def key(self) -> str:
        """The hash of the filter, for names of keys."""
        return sha256(msgspec.msgpack.encode(self)).hexdigest()[:32]


def filter_of(
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    exclude: Collection[str] = (),
    max_per_tag: int | None = None,
    diversity: float | None = None,
) -> Filter:
    """The filter of a request: tags and items in any order, repeated or not.

    Raises:
        UsageError: one of them is no list, an id is invalid (`require_id`), there are too many, or a number is invalid.
    """
    if max_per_tag is not None and (type(max_per_tag) is not int or max_per_tag < 1):
        raise UsageError(f"max_per_tag is {shown(max_per_tag)}, but must be a whole number of at least 1.")
    if diversity is not None and (type(diversity) not in (int, float) or not 0 < diversity <= 1):
        raise UsageError(f"diversity is {shown(diversity)}, but must be a number above 0 and at most 1.")
    try:
        return Filter(
            _ids("only", "tag", only, MAX_TAGS),
            _ids("without", "tag", without, MAX_TAGS),
            _ids("exclude", "item", exclude, MAX_EXCLUDED),
            float(diversity or 0),
            max_per_tag or 0,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def is_filter(
    *,
    only: Collection[str],
    without: Collection[str],
    exclude: Collection[str],
    max_per_tag: int | None,
    diversity: float | None,
) -> bool:
    """Whether a request leaves out something."""
    return bool(only or without or exclude or max_per_tag is not None or diversity is not None)


def filter_if_any(
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    exclude: Collection[str] = (),
    max_per_tag: int | None = None,
    diversity: float | None = None,
) -> Filter | None:
    """The filter of a request, None if it leaves out nothing; see `filter_of`."""
    if not is_filter(only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity):
        return None
    return filter_of(only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity)


def _ids(name: str, kind: str, given: Collection[str], most: int) -> tuple[str, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        what = "the string " if isinstance(given, str) else ""
        raise UsageError(f"{name} is {what}{shown(given)}, but must be a list of {kind}s.")
    found = {require_id(kind, text) for text in given}
    if len(found) > most:
        raise UsageError(f"{name} has {len(found):,} {kind}s. At most {most:,} are supported.")
    # Python sorts by code points, which is byte order in UTF-8.
    return tuple(sorted(found))
