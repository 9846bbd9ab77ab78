"""The parts of an evaluation in the store: its users, and the lists that workers make for them."""

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, WireError
from reckoner.shared.store.protocol import Store
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.shapes import SPEC, EvaluationSpec

NOTHING: Final = np.empty(0, np.uint32)


class Lists(NamedTuple):
    """The lists of some users: `counts` uint32[users], and `items` uint32, all lists, each best first.

    `reasons` uint32, beside `items`, are the history items with the largest shares of the scores; empty unless asked.
    """

    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    reasons: NDArray[np.uint32] = NOTHING


class _UsersBody(msgspec.Struct, array_like=True, frozen=True, tag="users", forbid_unknown_fields=True):
    # Part of the name: two evaluations never share a part, since the first to end deletes its own.
    owner: str
    users: memoryview


class _ListsBody(msgspec.Struct, array_like=True, frozen=True, tag="lists", forbid_unknown_fields=True):
    # Part of the name: two flows never share a part, since the first to end deletes its own.
    owner: bytes
    counts: memoryview
    items: memoryview
    reasons: memoryview


_USERS: Codec[_UsersBody] = Codec(_UsersBody)
_LISTS: Codec[_ListsBody] = Codec(_ListsBody)


def put_users(store: Store, owner: str, users: NDArray[np.uint32]) -> str:
    """Store the indices of users of a snapshot, uint32, ascending; returns the part's name, no other owner's."""
    return store.put_part(_USERS.encode(_UsersBody(owner, users.view(np.uint8).data)))


def get_users(store: Store, name: str) -> NDArray[np.uint32]:
    """Read the indices of users, uint32.

    Raises:
        ArtifactMissingError: the store does not hold the part.
        ArtifactDamagedError: it is damaged.
    """
    try:
        return _array(_USERS.decode(store.get_part(name)).users)
    except (WireError, ValueError) as error:
        raise ArtifactDamagedError(f"Part {name} holds no users.") from error


def put_lists(store: Store, spec: EvaluationSpec, lists: Lists) -> str:
    """Store lists of an evaluation; returns the part's name, no other evaluation's."""
    return store.put_part(_LISTS.encode(_ListsBody(SPEC.encode(spec), *(array.view(np.uint8).data for array in lists))))


def get_lists(store: Store, name: str) -> Lists:
    """Read lists.

    Raises:
        ArtifactMissingError: the store does not hold the part.
        ArtifactDamagedError: it is damaged.
    """
    try:
        body = _LISTS.decode(store.get_part(name))
        lists = Lists(*map(_array, (body.counts, body.items, body.reasons)))
    except (WireError, ValueError) as error:
        raise ArtifactDamagedError(f"Part {name} holds no lists.") from error
    if int(lists.counts.sum(dtype=np.int64)) != lists.items.size or lists.reasons.size not in (0, lists.items.size):
        raise ArtifactDamagedError(f"Part {name} holds no lists.")
    return lists


def _array(data: memoryview) -> NDArray[Any]:
    # Kernels take aligned arrays only.
    return np.require(np.frombuffer(data, np.uint32), requirements="A")
