"""Publishes lists: encodes a job's best candidates as cached lists, and writes these to the cache."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.redis.scripts import Cached
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
# At least so many users of a run are compared with their earlier lists, unless it has fewer.
USERS_COMPARED = 10_000


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

    spec: BlockSpec
    users: range
    snapshot: Snapshot
    record: Record


def make_lists(runtime: Runtime, block: Block, best: Partial | None, stop: NDArray[np.uint8]) -> MadeLists | None:
    """Encode and pack the lists of a block's users. None for None, and if `stop`, uint8[1], was set."""
    snapshot, record = block.snapshot, block.record
    if best is None:
        return None
    packed, prefix = list[PackedLists](), runtime.keys.result(record.generation, "")
    for first, some in _slices(best, max(1, PLACES_AT_ONCE // record.options.list_length)):
        if stop[0]:
            return None
        encoded = encode_lists(some, snapshot.items.offsets, snapshot.items.blob)
        start = block.users.start + first
        offsets = snapshot.users.offsets[start : start + some.counts.size + 1]
        commands = pack_lists(encoded, offsets, snapshot.users.blob, prefix, runtime.settings.result_ttl_s)
        packed.append(PackedLists(commands, some.counts.size))
    return MadeLists(best, packed)


def _ends(best: Partial) -> NDArray[np.int64]:
    """Where each user's places begin, and the last one's end."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(best.counts, dtype=np.int64)))


def _slices(best: Partial, users: int) -> Iterator[tuple[int, Partial]]:
    """Each slice of `users` users with the number of its first one."""
    ends = _ends(best)
    for first in range(0, best.counts.size, users):
        counts = best.counts[first : first + users]
        some = slice(ends[first], ends[first + counts.size])
        yield first, Partial(counts, best.items[some], best.scores[some], best.reasons[some])


async def publish_block(runtime: Runtime, block: Block, made: MadeLists, lease: Lease) -> Outcome:
    """Write the lists of a block's users to the cache. Returns the counts.

    Raises:
        NotNowError: the lease may have lapsed. After a long freeze the generation may be gone: its lists would stay.
    """
    places, fresh = await _compare(runtime, block, made.best)
    for packed in made.packed:
        await runtime.scheduler.yield_to_clicks()
        if lease.lapsed:
            raise NotNowError
        await runtime.results.write_packed(*packed)
    empty = len(block.users) - int(np.count_nonzero(made.best.counts))
    return Outcome(done=len(block.users), empty=empty, places=places, fresh=fresh)


def compared_users(block: Block) -> range:
    """The users whose lists are compared with their earlier ones: every n-th user of the run, whose id decides which.

    So a run with few earlier lists finds some of them, wherever they are.
    """
    spec, users = block.spec, block.users
    if not spec.since or spec.since == spec.generation:
        return range(0)
    step = max(1, block.record.users // USERS_COMPARED)
    return range(users.start + (sum(spec.run.encode()) - users.start) % step, users.stop, step)


async def _compare(runtime: Runtime, block: Block, best: Partial) -> tuple[int, int]:
    """Of users who had a list when the run began: the places of their new lists, and how many of these are new."""
    places, fresh, chosen, items = 0, 0, compared_users(block), block.snapshot.items
    ends = _ends(best)
    for at in range(0, len(chosen), COMPARED_AT_ONCE):
        some = chosen[at : at + COMPARED_AT_ONCE]
        await runtime.scheduler.yield_to_clicks()
        befores = await runtime.results.read(block.spec.since, [block.snapshot.users[user] for user in some])
        for user, before in zip(some, befores, strict=True):
            if before:
                own = best.items[slice(*ends[user - block.users.start :][:2])].tolist()
                places += len(own)
                fresh += len({items.recall(item) for item in own} - {place.item for place in before.items})
    return places, fresh


def user_list(runtime: Runtime, spec: UserSpec, best: Partial, snapshot: Snapshot) -> Cached:
    """One user's encoded list, to be cached."""
    data = encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()
    return Cached(runtime.keys.result(spec.generation, spec.user), data, runtime.settings.result_ttl_s)


def basket_list(spec: BasketSpec, best: Partial, snapshot: Snapshot) -> bytes:
    """A basket's encoded list: that of a user, and the items that the snapshot does not know."""
    unknown = [item for item in spec.items if snapshot.items.find(item) is None]
    data = encode_lists(best, snapshot.items.offsets, snapshot.items.blob).values.tobytes()
    return data.removesuffix(b"}") + b',"unknown":' + msgspec.json.encode(unknown) + b"}"
