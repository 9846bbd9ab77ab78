"""Publishes lists: encodes a job's best candidates as cached lists, and writes these to the cache."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.redis.scripts import Cached
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import BasketSpec, Frozen, Outcome, Record, UserSpec
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.encoding.lists import encode_lists, pack_lists
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.runtime.runtime import Runtime

# The places that are encoded in one step, about 2 ms, and sent in one round trip, about 600 kB.
PLACES_AT_ONCE = 20_000


class PackedLists(NamedTuple):
    """The packed commands that cache the lists of so many users."""

    commands: memoryview
    users: int


class MadeLists(NamedTuple):
    """The lists of a block's users, and the commands that cache them."""

    best: Partial
    packed: list[PackedLists]


class Block(NamedTuple):
    """A block of a run: its users' indices in the snapshot, and the record of the run's generation."""

    users: range
    snapshot: Snapshot
    record: Record


def make_lists(runtime: Runtime, block: Block, best: Partial | None, stop: NDArray[np.uint8]) -> MadeLists | None:
    """Encode and pack the lists of a block's users. None for None, and if `stop`, uint8[1], was set."""
    snapshot, record = block.snapshot, block.record
    if best is None:
        return None
    packed, prefix = list[PackedLists](), runtime.keys.result(record.generation, "")
    for first, some in _slices(best, max(1, PLACES_AT_ONCE // record.places)):
        if stop[0]:
            return None
        encoded = encode_lists(some, snapshot.items.offsets, snapshot.items.blob)
        start = block.users.start + first
        offsets = snapshot.users.offsets[start : start + some.counts.size + 1]
        commands = pack_lists(encoded, offsets, snapshot.users.blob, prefix, runtime.settings.result_ttl_s)
        packed.append(PackedLists(commands, some.counts.size))
    return MadeLists(best, packed)


def _slices(best: Partial, users: int) -> Iterator[tuple[int, Partial]]:
    """Each slice of `users` users with the number of its first one."""
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(best.counts, dtype=np.int64)))
    for first in range(0, best.counts.size, users):
        counts = best.counts[first : first + users]
        some = slice(ends[first], ends[first + counts.size])
        yield first, Partial(counts, best.items[some], best.scores[some], best.reasons[some])


async def publish_block(runtime: Runtime, made: MadeLists, lease: Lease) -> Outcome:
    """Write the lists of a block's users to the cache. Returns the counts.

    Raises:
        NotNowError: the lease may have lapsed. After a long freeze the generation may be gone: its lists would stay.
    """
    for packed in made.packed:
        await runtime.scheduler.yield_to_clicks()
        if lease.lapsed:
            raise NotNowError
        await runtime.results.write_packed(*packed)
    counts = made.best.counts
    return Outcome(done=counts.size, empty=counts.size - int(np.count_nonzero(counts)))


def user_list(runtime: Runtime, spec: UserSpec, best: Partial, snapshot: Snapshot, unknown: Sequence[str]) -> Cached:
    """One user's encoded list, to be cached, with the items of events that the snapshot does not know."""
    data = _list(best, snapshot)
    if unknown:
        data = _with_fields(data, unknown=unknown)
    return Cached(runtime.keys.result(spec.generation, spec.user), data, runtime.settings.result_ttl_s)


def basket_list(spec: BasketSpec, best: Partial, snapshot: Snapshot) -> bytes:
    """A basket's encoded list: that of a user, and the items that the snapshot does not know."""
    return _with_fields(_list(best, snapshot), unknown=_unknown(spec, snapshot))


def filtered_list(spec: UserSpec | BasketSpec, best: Partial, snapshot: Snapshot, frozen: Frozen) -> bytes:
    """The encoded list of a user or a basket with a filter, and the versions of what it was computed with."""
    unknown = _unknown(spec, snapshot) if isinstance(spec, BasketSpec) else frozen.unknown
    fields = {
        "unknown": unknown,
        "recent": frozen.version.decode(errors="replace"),
        "tagging": frozen.tagging.decode(errors="replace"),
    }
    return _with_fields(_list(best, snapshot), **{name: value for name, value in fields.items() if value})


def _list(best: Partial, snapshot: Snapshot) -> bytes:
    return encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()


def _unknown(spec: BasketSpec, snapshot: Snapshot) -> list[str]:
    return [item for item in spec.items if snapshot.items.find(item) is None]


def _with_fields(data: bytes, **fields: Sequence[str]) -> bytes:
    more = msgspec.json.encode(fields)[1:] if fields else b"}"
    return data.removesuffix(b"}") + (b"," if fields else b"") + more
