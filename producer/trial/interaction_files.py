"""Writes interactions as CSV or Parquet for `import`: the columns user, item and time, all numbers."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from reckoner.producer.trial.synthesis import Block
from reckoner.shared.errors import OutputError, UsageError

CSV, PARQUET = ".csv", (".parquet", ".pq")
SCHEMA = pa.schema([("user", pa.int32()), ("item", pa.int32()), ("time", pa.int64())])


def write_interactions(path: Path, blocks: Iterable[Block], progress: Callable[[int], None]) -> int:
    """Write the blocks to a new file; returns its size in bytes. `progress(rows)` is called after each block.

    The bytes of a CSV file depend only on the rows, those of a Parquet file also on the version of pyarrow. After an
    error the file is removed.

    Raises:
        UsageError: the file's name does not end in .csv, .parquet or .pq.
        OutputError: the file exists, or cannot be written.
    """
    if path.suffix not in (CSV, *PARQUET):
        raise UsageError(f"Unknown format of {path}. The name must end in .csv or .parquet.")
    try:
        with path.open("xb") as file:
            try:
                write = _write_csv if path.suffix == CSV else _write_parquet
                write(file, _batches(blocks, progress))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return path.stat().st_size
    except FileExistsError as error:
        raise OutputError(f"{path} already exists. Remove it, or use another name.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _batches(blocks: Iterable[Block], progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    done = 0
    for block in blocks:
        arrays = [pa.array(block.users.astype(np.int32)), pa.array(block.items.astype(np.int32)), pa.array(block.times)]
        yield pa.record_batch(arrays, schema=SCHEMA)
        done += block.users.size
        progress(done)


def _write_csv(file: BinaryIO, batches: Iterable[pa.RecordBatch]) -> None:
    # Written by hand, since pyarrow would quote the names.
    file.write(",".join(SCHEMA.names).encode() + b"\n")
    options = pyarrow.csv.WriteOptions(include_header=False)
    with pyarrow.csv.CSVWriter(file, SCHEMA, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_parquet(file: BinaryIO, batches: Iterable[pa.RecordBatch]) -> None:
    with pyarrow.parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
