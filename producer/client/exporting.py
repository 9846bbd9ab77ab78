"""Exports the lists of a generation as Arrow tables; it needs the extra `data`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from reckoner.producer.client.calls import translates_redis_errors
from reckoner.producer.client.connection import Client
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.client.status import now_ms
from reckoner.shared.errors import GenerationUnknownError, ListsMissingError
from reckoner.shared.ids import require_id
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot
from reckoner.shared.wire.shapes import Holding, Record, ScoredItem

# The places of a batch: some ten megabytes of objects.
PLACES_AT_ONCE = 40_000
COLUMNS = {
    "user": pa.string(), "rank": pa.int32(), "item": pa.string(), "score": pa.float32(), "because": pa.string()
}  # fmt: skip
TITLES = {"title": pa.string(), "because_title": pa.string()}


async def export_generation(
    reckoner: Reckoner, store: Store, generation: str | None = None, *, titles: bool = False
) -> pa.Table:
    """All lists of a generation as one table, which has `to_pandas()`; see `export_batches`."""
    batches = [batch async for batch in export_batches(reckoner, store, generation, titles=titles)]
    return pa.Table.from_batches(batches, _schema(titles=titles))


async def export_batches(
    reckoner: Reckoner, store: Store, generation: str | None = None, *, titles: bool = False
) -> AsyncIterator[pa.RecordBatch]:
    """Yield the lists of a generation, by default the current one, in batches of bounded size.

    A row is a place of a user's list: user, rank from 1, item, score float32, because (the history item with the
    largest share of the score), and with `titles` title and because_title, null where there are none. Users are in the
    byte order of their ids. A user with an empty list has no row, although readers get the popular list. `store` is
    that of the workers: it knows the users.

    Raises:
        NothingFittedError: no model was fitted yet.
        GenerationUnknownError: there is no such generation.
        ListsMissingError: the generation does not hold every user's list, or some were deleted meanwhile.
        RedisUnavailableError: Redis does not answer.
        StoreError: the snapshot of the generation cannot be read.
        UsageError: the generation's id is invalid.
    """
    lists = _Lists(reckoner._client)
    record, expected = await lists.whole(generation)
    users = open_snapshot(await asyncio.to_thread(store.fetch, KIND, record.snapshot)).users
    at_once, n_read = max(1, PLACES_AT_ONCE // record.places), 0
    for page in users.pages():
        for start in range(0, len(page), at_once):
            some = [user.decode() for user in page[start : start + at_once]]
            found = await lists.read(record, some)
            n_read += sum(places is not None for places in found)
            batch = _batch(some, found)
            yield await lists.with_titles(record, batch) if titles else batch
    if n_read < expected:
        raise ListsMissingError(
            f"Generation {record.generation} lacks {expected - n_read:,} of {expected:,} lists: they have expired, or "
            "were deleted meanwhile. Export the current generation, or compute the lists with `reckoner batch`."
        )


class _Lists:
    """Reads the lists of a generation over the connections of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @translates_redis_errors
    async def whole(self, generation: str | None) -> tuple[Record, int]:
        """The record of a generation that holds every user's list, and the number of lists."""
        results = self._client.results
        if generation is None:
            record = await results.current(anew=True)
        elif (found := await results.generations.record(require_id("generation", generation))) is not None:
            record = found
        else:
            raise GenerationUnknownError
        held: Holding | None = (await results.generations.holdings()).get(record.generation)
        if held is None:
            raise ListsMissingError(
                f"Generation {record.generation} does not hold every user's list: compute them with `reckoner batch`."
            )
        if held.until_ms <= await now_ms(self._client.redis):
            raise ListsMissingError(
                f"Some lists of generation {record.generation} have expired: see RECKONER_RESULT_TTL_S."
            )
        return record, held.lists

    @translates_redis_errors
    async def read(self, record: Record, users: Sequence[str]) -> list[list[ScoredItem] | None]:
        """The list of each user, None without one."""
        results = await self._client.results.read(record.generation, users)
        return [None if result is None else result.items for result in results]

    @translates_redis_errors
    async def with_titles(self, record: Record, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the titles of its items and reasons."""
        wanted = pa.chunked_array([batch["item"], batch["because"]]).unique().to_pylist()
        known = await self._client.results.titles(record.snapshot, wanted)
        for name, source in zip(TITLES, ("item", "because"), strict=True):
            batch = batch.append_column(name, pa.array(map(known.get, batch[source].to_pylist()), pa.string()))
        return batch


def _batch(users: Sequence[str], lists: Sequence[Sequence[ScoredItem] | None]) -> pa.RecordBatch:
    counts = np.array([len(places or ()) for places in lists])
    places = list(chain.from_iterable(places or () for places in lists))
    starts = np.cumsum(counts) - counts
    columns = [
        pa.array(users, pa.string()).take(pa.array(np.repeat(np.arange(len(users)), counts))),
        pa.array(np.arange(1, len(places) + 1) - np.repeat(starts, counts), pa.int32()),
        pa.array([place.item for place in places], pa.string()),
        pa.array(np.array([place.score for place in places], np.float32)),
        pa.array([place.because for place in places], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_schema(titles=False))


def _schema(*, titles: bool) -> pa.Schema:
    return pa.schema(COLUMNS | TITLES if titles else COLUMNS)
