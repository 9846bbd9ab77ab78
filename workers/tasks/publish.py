"""Publishes lists: encodes a job's best candidates as cached lists, and writes these to the cache."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

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


def one_list(spec: UserSpec | BasketSpec, best: Partial, snapshot: Snapshot, frozen: Frozen, places: int) -> bytes:
    """The encoded list of a user or a basket, of at most so many `places`, with what it was computed with.

    That are the items of events or of the basket that the snapshot does not know; for a filter the versions of what it
    has read; and for a list with fewer places what was hidden, if that is not the mask of the generation.
    """
    fields: dict[str, str | Sequence[str]] = {}
    if isinstance(spec, BasketSpec):
        unknown = [item for item in spec.items if snapshot.items.find(item) is None]
    else:
        unknown = frozen.unknown
    if unknown or (isinstance(spec, BasketSpec) and not spec.filter):
        fields["unknown"] = unknown
    if frozen.hidden is not None and best.items.size < places:
        fields["mask"] = frozen.hidden
    if spec.filter:
        versions = {"recent": frozen.version, "tagging": frozen.tagging}
        fields |= {name: value.decode(errors="replace") for name, value in versions.items() if value}
    data = encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()
    return data.removesuffix(b"}") + b"," + msgspec.json.encode(fields)[1:] if fields else data
