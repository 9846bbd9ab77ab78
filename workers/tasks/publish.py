"""Publishes lists: encodes a job's best candidates as cached lists, and writes these to the cache."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import BasketSpec, BlockSpec, Outcome, Record, UserSpec
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.encoding.lists import encode_lists, pack_lists
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.runtime.runtime import Runtime

# The places that are encoded in one step, about 2 ms, and sent in one round trip, about 600 kB.
PLACES_AT_ONCE = 20_000
# The lists that are compared with earlier ones in one step on the event loop, about a millisecond.
COMPARED_AT_ONCE = 50
# At least so many blocks of a run are compared with the earlier lists, unless it has fewer.
BLOCKS_COMPARED = 8


class PackedLists(NamedTuple):
    """The packed commands that cache the lists of so many users."""

    commands: memoryview
    users: int


class MadeLists(NamedTuple):
    """The lists of a block's users, and the commands that cache them."""

    best: Partial
    packed: list[PackedLists]


def make_lists(
    runtime: Runtime, best: Partial | None, users: range, snapshot: Snapshot, record: Record, stop: NDArray[np.uint8]
) -> MadeLists | None:
    """Encode and pack the lists of consecutive users. None for None, and if `stop`, uint8[1], was set."""
    if best is None:
        return None
    packed, prefix = list[PackedLists](), runtime.keys.result(record.generation, "")
    for first, some in _slices(best, max(1, PLACES_AT_ONCE // record.options.list_length)):
        if stop[0]:
            return None
        encoded = encode_lists(some, snapshot.items.offsets, snapshot.items.blob)
        start = users.start + first
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


async def publish_block(
    runtime: Runtime,
    spec: BlockSpec,
    block: int,
    users: range,
    made: MadeLists,
    record: Record,
    lease: Lease,
) -> Outcome:
    """Write the lists of a block's users to the cache. Returns the counts.

    Raises:
        NotNowError: the lease may have lapsed. After a long freeze the generation may be gone: its lists would stay.
    """
    places, fresh = 0, 0
    if is_compared(spec, block, record):
        places, fresh = await _compare(runtime, spec, users, made.best, await runtime.snapshot(record.snapshot))
    for packed in made.packed:
        await runtime.scheduler.yield_to_clicks()
        if lease.lapsed:
            raise NotNowError
        await runtime.results.write_packed(*packed)
    empty = len(users) - int(np.count_nonzero(made.best.counts))
    return Outcome(done=len(users), empty=empty, places=places, fresh=fresh)


def is_compared(spec: BlockSpec, block: int, record: Record) -> bool:
    """Whether this block's lists are compared with the earlier ones. The run's id decides where the sample begins."""
    if not spec.since or spec.since == spec.generation:
        return False
    step = max(1, -(-record.users // spec.block_size) // BLOCKS_COMPARED)
    return (block + sum(spec.run.encode())) % step == 0


async def _compare(
    runtime: Runtime, spec: BlockSpec, users: range, best: Partial, snapshot: Snapshot
) -> tuple[int, int]:
    """Of users who had a list when the run began: the places of their new lists, and how many of these are new."""
    places = fresh = 0
    for first, some in _slices(best, COMPARED_AT_ONCE):
        await runtime.scheduler.yield_to_clicks()
        names = [snapshot.users[users[first + n]] for n in range(some.counts.size)]
        items, end = some.items.tolist(), 0
        befores = await runtime.results.read(spec.since, names)
        for before, count in zip(befores, some.counts.tolist(), strict=True):
            own = items[end : end + count]
            end += count
            if before:
                places += count
                fresh += len({snapshot.items.recall(item) for item in own} - {place.item for place in before.items})
    return places, fresh


async def publish_user(runtime: Runtime, spec: UserSpec, best: Partial, snapshot: Snapshot) -> None:
    """Write one user's list to the cache."""
    data = encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()
    await runtime.results.write(spec.generation, [(spec.user, data)], runtime.settings.result_ttl_s)


async def publish_basket(runtime: Runtime, spec: BasketSpec, best: Partial, snapshot: Snapshot) -> None:
    """Write a basket's list to the cache."""
    await runtime.results.write_basket(spec.generation, spec.items, basket_list(spec, best, snapshot))


def basket_list(spec: BasketSpec, best: Partial, snapshot: Snapshot) -> bytes:
    """A basket's encoded list: that of a user, and the items that the snapshot does not know."""
    unknown = [item for item in spec.items if snapshot.items.find(item) is None]
    data = encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()
    return data.removesuffix(b"}") + b',"unknown":' + msgspec.json.encode(unknown) + b"}"
