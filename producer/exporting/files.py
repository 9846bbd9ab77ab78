"""Exports a generation to a file or to an object of a bucket."""

import asyncio
from typing import NamedTuple

from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.exporting.batches import Progress, find_lists, schema
from reckoner.producer.exporting.destinations import open_destination
from reckoner.producer.exporting.formats import Format, format_of, open_writer
from reckoner.shared.store.protocol import Store


class Exported(NamedTuple):
    """What was written."""

    generation: str
    users: int
    """The number of users of the snapshot, with a row or not."""
    places: int
    format: Format


async def export_file(
    reckoner: Reckoner,
    store: Store,
    destination: str,
    generation: str | None = None,
    *,
    format: Format | None = None,  # noqa: A002 - it reads best at the call
    titles: bool = True,
    progress: Progress | None = None,
) -> Exported:
    """Write the lists of a generation, by default the current one, to a path or a URL, as `export_batches` yields them.

    Formats are Parquet, CSV and JSON lines; without one the name's ending says it. The memory does not grow with the
    number of lists. The file takes the place of an older one when it is complete; after an error nothing has changed.

    Raises:
        UsageError: the name says no format, or the URL or the generation's id is invalid.
        MissingExtraError: the URL is one of a bucket, and obstore is not installed.
        OutputError: the file cannot be written.
        ReckonerError: as `export_batches` says.
    """
    chosen, columns, places = format or format_of(destination), schema(titles=titles), 0
    lists = await find_lists(reckoner, store, generation)
    with open_destination(destination) as file:
        writer, writing = open_writer(chosen, file, columns), asyncio.create_task(asyncio.sleep(0))
        try:
            # A batch is written while the next one is read.
            async for batch in lists.batches(titles=titles, progress=progress):
                await writing
                writing = asyncio.create_task(asyncio.to_thread(writer.write, batch))
                places += len(batch)
            await writing
        finally:
            # A thread cannot be cancelled, and the file is closed next.
            await asyncio.wait([writing])
        await asyncio.to_thread(writer.close)
    return Exported(lists.record.generation, len(lists.users), places, chosen)
