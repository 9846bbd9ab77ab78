"""Parameters and fields that several routes have, with their descriptions and bounds."""

from typing import Annotated

from msgspec import Meta, Struct

from reckoner.shared.ids import MAX_ID_BYTES

# The most users, items or events in one request.
MOST = 1_000

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=MOST)]
User = Annotated[Id, Meta(description="The user's id.")]
Item = Annotated[Id, Meta(description="The item's id.")]
Cursor = Annotated[str, Meta(max_length=4_096, description="The `next` of the page before.")]
Count = Annotated[int, Meta(ge=1, le=MOST, description="The number of entries.")]
Places = Annotated[
    int, Meta(ge=1, le=MOST, description="The number of places, up to the length of the lists; at most 10 by default.")
]
Timeout = Annotated[float, Meta(gt=0, le=60, description="Seconds to wait for the workers.")]
Patience = Annotated[
    float,
    Meta(
        ge=0,
        le=60,
        description="Seconds to wait for the workers if the list is not in the cache. With 0, it is the popular list.",
    ),
]
Tags = Annotated[tuple[Id, ...], Meta(max_length=100)]
Only = Annotated[Tags, Meta(description="Tags: items without any of them are left out.")]
Without = Annotated[Tags, Meta(description="Tags: items with any of them are left out.")]
Exclude = Annotated[Ids, Meta(description="Items to leave out.")]
MaxPerTag = Annotated[int, Meta(ge=1, le=MOST, description="The most places whose items have the same tag.")]
Diversity = Annotated[
    float,
    Meta(gt=0, le=1, description="How much less a place counts for being similar to those before it."),
]
Fresh = Annotated[bool, Meta(description="Whether it is computed anew, even if it is in the cache.")]


class OfUser(Struct, frozen=True):
    """Which user."""

    user: User
