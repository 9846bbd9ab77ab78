"""A table: batches of columns with the number of each row; and the readers' errors as sentences."""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reckoner.producer.importing.reading.forms import Form
from reckoner.shared.errors import SourceError

BATCH_ROWS = 131_072
# Whole numbers below it are exact as floats.
EXACT_BELOW = 2**53
# Of several files, the rows of the n-th one, from 0, are numbered from n times so much on.
PART_ROWS = 1 << 40
BLOCK_BYTES = 8 << 20
# A limit, since names are read whole.
MAX_COLUMNS = 10_000

Refuse: TypeAlias = Callable[[int, str, str], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: their numbers in the file, `lines` int64[n], and the columns by name."""

    lines: NDArray[np.int64]
    columns: dict[str, pa.Array]


class Table(Protocol):
    """The rows of a file or a query; `n_rows` is None if unknown before the end."""

    name: str
    columns: Sequence[str]
    n_rows: int | None
    unit: Literal["line", "row"]

    @property
    def form(self) -> Form | None:
        """How a text file is written; all of it is known after the last batch."""

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """The rows in order; `refuse(line, reason, text)` is called for a malformed line.

        A list in a column of `whole` is one value: see `nesting.LIST`. Any other list is a row for each of its values.

        Raises:
            SourceError: the source cannot be read.
        """


def require_columns(name: str, count: int) -> None:
    """Check the number of columns.

    Raises:
        SourceError: the file has too many.
    """
    if count > MAX_COLUMNS:
        raise SourceError(f"{name} has {count:,} columns. At most {MAX_COLUMNS:,} are supported.")


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that the file does not change during the block; a growing file may end in half a line.

    Raises:
        SourceError: the file changed.
    """

    def state() -> tuple[int, ...]:
        with sentences(path.name):
            found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    before = state()
    yield
    if state() != before:
        raise SourceError(f"{path.name} changed while it was read. Import it when it is complete.")


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn the readers' errors about the file `name` into one sentence."""
    try:
        yield
    except pa.ArrowException as error:
        if "invalid utf8" in str(error).casefold():
            raise SourceError(f"{name} is not UTF-8 text.") from error
        raise SourceError(f"{name} cannot be read: {_first_line(error)}.") from error
    except UnicodeDecodeError as error:
        # The names of an Arrow file's columns.
        raise SourceError(f"{name} is not UTF-8 text.") from error
    except tarfile.TarError as error:
        raise SourceError(f"{name} cannot be read: the tar file is damaged or cut off.") from error
    except zipfile.BadZipFile as error:
        raise SourceError(f"{name} cannot be read: the zip file is damaged.") from error
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise SourceError(f"{name} cannot be read: its compressed data are damaged or cut off.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise SourceError(
            f"{name} cannot be read: the zip file is encrypted or uses an unsupported compression."
        ) from error
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist.") from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or _first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
