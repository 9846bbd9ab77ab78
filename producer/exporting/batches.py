"""Reads the lists of a generation as Arrow tables; it needs the extra `data`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pyarrow as pa

from reckoner.producer.client.calls import translates_redis_errors
from reckoner.producer.client.connection import Client
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.client.status import now_ms
from reckoner.producer.exporting.places import Places, gather, is_plain, merge, split
from reckoner.shared.errors import GenerationUnknownError, ListsMissingError
from reckoner.shared.ids import require_id
from reckoner.shared.serving.results import Reading
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot
from reckoner.shared.wire.shapes import Holding, Record

# The places of a batch: some ten megabytes of objects.
PLACES_AT_ONCE = 40_000
COLUMNS = {
    "user": pa.string(), "rank": pa.int32(), "item": pa.string(), "score": pa.float32(), "because": pa.string()
}  # fmt: skip
TITLES = {"title": pa.string(), "because_title": pa.string()}
# Called with the number of users done and of all.
Progress = Callable[[int, int], None]


async def export_generation(
    reckoner: Reckoner, store: Store, generation: str | None = None, *, titles: bool = False
) -> pa.Table:
    """All lists of a generation as one table, which has `to_pandas()`; see `export_batches`."""
    batches = [batch async for batch in export_batches(reckoner, store, generation, titles=titles)]
    return pa.Table.from_batches(batches, schema(titles=titles))


async def export_batches(
    reckoner: Reckoner,
    store: Store,
    generation: str | None = None,
    *,
    titles: bool = False,
    progress: Progress | None = None,
) -> AsyncIterator[pa.RecordBatch]:
    """Yield the lists of a generation, by default the current one, in batches of bounded size.

    A row is a place of a user's list: user, rank from 1, item, score float32, because (the history item with the
    largest share of the score), and with `titles` title and because_title, null where there are none. The places are
    those that `get` returns for the generation's list length. Users are in the byte order of their ids. A user with
    an empty list has no row, although readers get the popular list. `store` is that of the workers: it knows the
    users. `progress(done, users)` is called after each batch.

    Raises:
        NothingFittedError: no model was fitted yet.
        GenerationUnknownError: there is no such generation.
        ListsMissingError: the generation does not hold every user's list, or some were deleted meanwhile.
        RedisUnavailableError: Redis does not answer.
        StoreError: the snapshot of the generation cannot be read.
        UsageError: the generation's id is invalid.
    """
    lists = await find_lists(reckoner, store, generation)
    async for batch in lists.batches(titles=titles, progress=progress):
        yield batch


async def find_lists(reckoner: Reckoner, store: Store, generation: str | None = None) -> "Lists":
    """The lists of a generation, by default of the current one. Raises as `export_batches` does."""
    record, expected = await _whole(reckoner, generation)
    path = await asyncio.to_thread(store.fetch, KIND, record.snapshot)
    return Lists(reckoner._client, record, open_snapshot(path).users, expected)


@translates_redis_errors
async def _whole(reckoner: Reckoner, generation: str | None) -> tuple[Record, int]:
    """The record of a generation that holds every user's list, and the number of lists."""
    results = reckoner._client.results
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
    if held.until_ms <= await now_ms(reckoner._client.redis):
        raise ListsMissingError(
            f"Some lists of generation {record.generation} have expired: see RECKONER_RESULT_TTL_S."
        )
    return record, held.lists


class Lists:
    """The lists of a generation, read over the connections of a client; `expected` of the `users` have one."""

    def __init__(self, client: Client, record: Record, users: TextTable, expected: int) -> None:
        self.record = record
        self._client = client
        self.users, self._expected = users, expected

    async def batches(self, *, titles: bool, progress: Progress | None) -> AsyncIterator[pa.RecordBatch]:
        """Yield batches; see `export_batches`."""
        all_users, done, missing = len(self.users), 0, 0
        at_once = max(1, PLACES_AT_ONCE // self.record.options.list_length)
        for page in self.users.pages():
            for start in range(0, len(page), at_once):
                some = [user.decode() for user in page[start : start + at_once]]
                places, n_missing = await self._read(some)
                done, missing = done + len(some), missing + n_missing
                if missing > all_users - self._expected:
                    raise ListsMissingError(
                        f"Lists of generation {self.record.generation} have expired or were deleted during the export. "
                        "Export the current generation, or compute the lists with `reckoner batch`."
                    )
                batch = _batch(some, places)
                yield await self._with_titles(batch) if titles else batch
                if progress is not None:
                    progress(done, all_users)

    @translates_redis_errors
    async def _read(self, users: Sequence[str]) -> tuple[Places, int]:
        """The places of users that may be shown, and the number of users without a list."""
        results, generation, n = self._client.results, self.record.generation, self.record.options.list_length
        values, left, hidden = await results.read_encoded(generation, users)
        odd = [at for at, data in enumerate(values) if left[at] or (data is not None and not is_plain(data))]
        lists = list(values)
        for at in odd:
            lists[at] = None
        found = split(lists, n, hidden)
        if found is None:
            odd, lists = list(range(len(users))), []
        decoded = await results.decode(generation, [users[at] for at in odd], [values[at] for at in odd])
        reading = Reading(decoded, [left[at] for at in odd], hidden)
        others = gather(odd, [reading.visible(number)[:n] for number in range(len(odd))])
        missing = values.count(None) + decoded.count(None) - sum(values[at] is None for at in odd)
        return (merge(found, others) if found else others), missing

    @translates_redis_errors
    async def _with_titles(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the titles of its items and reasons."""
        sources = [batch[source].dictionary_encode() for source in ("item", "because")]
        wanted = [source.dictionary.to_pylist() for source in sources]
        known = await self._client.results.titles(self.record.snapshot, list({*wanted[0], *wanted[1]}))
        for name, source, items in zip(TITLES, sources, wanted, strict=True):
            batch = batch.append_column(name, pa.array(map(known.get, items), pa.string()).take(source.indices))
        return batch


def _batch(users: Sequence[str], places: Places) -> pa.RecordBatch:
    columns = [
        pa.array(users, pa.string()).take(pa.array(places.user)),
        pa.array(places.rank, pa.int32()),
        places.item,
        places.score,
        places.because,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema(titles=False))


def schema(*, titles: bool) -> pa.Schema:
    """The columns of an export."""
    return pa.schema(COLUMNS | TITLES if titles else COLUMNS)
