"""The catalogue of a snapshot: its items' tags, and when they are available."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.artifacts import Artifact
from reckoner.shared.store.identifiers import TextTable, build
from reckoner.shared.store.integrity import check_pointers, check_rows, check_texts

# The availability of an item for which none is given, in milliseconds since 1970.
ALWAYS: Final = 0
FOR_EVER: Final = 2**63 - 1
TAG_ARRAYS: Final = ("tags_offsets", "tags_blob", "item_tag_ptr", "item_tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What is known of I items beside their interactions; all of it is optional.

    `tags` are distinct and sorted by their bytes; those of an item are `item_tags` uint32[n] (ascending within each
    item) from `item_tag_ptr` int64[I + 1]. All three are None if no item has a tag. `available_from` and
    `available_until` int64[I] are milliseconds since 1970, `ALWAYS` and `FOR_EVER` where none is given, None if no item
    has any.
    """

    tags: TextTable | None = None
    item_tag_ptr: NDArray[np.int64] | None = None
    item_tags: NDArray[np.uint32] | None = None
    available_from: NDArray[np.int64] | None = None
    available_until: NDArray[np.int64] | None = None

    def tags_of(self, item: int) -> list[str]:
        """The tags of an item by its index, sorted by their bytes."""
        if self.tags is None or self.item_tag_ptr is None or self.item_tags is None:
            return []
        some = self.item_tags[self.item_tag_ptr[item] : self.item_tag_ptr[item + 1]]
        return [self.tags.recall(tag) for tag in some.tolist()]

    def available_at(self, now_ms: int, n_items: int) -> NDArray[np.bool_]:
        """Which of the items are available at a moment, bool[I]."""
        found = np.ones(n_items, np.bool_)
        if self.available_from is not None:
            found &= self.available_from <= now_ms
        if self.available_until is not None:
            found &= self.available_until > now_ms
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the artifact, by their names."""
        found = {
            "tags_offsets": None if self.tags is None else self.tags.offsets,
            "tags_blob": None if self.tags is None else self.tags.blob,
            "item_tag_ptr": self.item_tag_ptr,
            "item_tags": self.item_tags,
            "available_from": self.available_from,
            "available_until": self.available_until,
        }
        return {name: array for name, array in found.items() if array is not None}


def make_catalogue(
    tags: Sequence[Collection[str]] = (),
    available_from: NDArray[np.int64] | None = None,
    available_until: NDArray[np.int64] | None = None,
) -> Catalogue:
    """The catalogue of I items: the tags of each, or of none, and arrays int64[I]; what says nothing is left out."""
    if available_from is not None and (available_from == ALWAYS).all():
        available_from = None
    if available_until is not None and (available_until == FOR_EVER).all():
        available_until = None
    names = sorted(set(chain.from_iterable(tags)))
    if not names:
        return Catalogue(available_from=available_from, available_until=available_until)
    index = {name: tag for tag, name in enumerate(names)}
    item_tags = np.fromiter((tag for some in tags for tag in sorted(index[name] for name in set(some))), np.uint32)
    return Catalogue(
        tags=build(names),
        item_tag_ptr=np.cumsum([0, *(len(set(some)) for some in tags)], dtype=np.int64),
        item_tags=item_tags,
        available_from=available_from,
        available_until=available_until,
    )


def open_catalogue(artifact: Artifact, n_items: int, *, verify: bool) -> Catalogue:
    """The catalogue in a snapshot; with `verify`, its integrity is checked too.

    Raises:
        ArtifactDamagedError: an array is invalid.
    """
    begins, ends = (
        artifact.array(name, np.int64, n_items) if name in artifact.arrays else None
        for name in ("available_from", "available_until")
    )
    if artifact.arrays.keys().isdisjoint(TAG_ARRAYS):
        return Catalogue(available_from=begins, available_until=ends)
    tags = TextTable(artifact.array("tags_offsets", np.int64), artifact.array("tags_blob", np.uint8))
    if tags.offsets.size == 0 or tags.offsets[-1] != tags.blob.size:
        raise artifact.damage("tags_offsets", f"does not end at {tags.blob.size}")
    pointers = artifact.array("item_tag_ptr", np.int64, n_items + 1)
    item_tags = artifact.array("item_tags", np.uint32, int(pointers[-1]))
    if verify:
        check_texts(artifact, "tags", are_ids=True)
        check_pointers(artifact, "item_tag_ptr", item_tags.size)
        check_rows(artifact, "item_tags", "item_tag_ptr", len(tags))
    return Catalogue(tags=tags, item_tag_ptr=pointers, item_tags=item_tags, available_from=begins, available_until=ends)
