"""Reads the rows of a database query, batch by batch.

ADBC drivers stream Arrow record batches (from PostgreSQL by COPY). SQLAlchemy would create a Python object for every
value; connectorx does not use libpq, so its variables, password files and TLS options would not work. The database
casts every value to text, as in a CSV file, because ADBC supports only some of PostgreSQL's types and infers the type
of an SQLite column from the first batch.
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import pyarrow as pa

from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.reading.tables import BATCH_ROWS, BLOCK_BYTES, Batch, Refuse, sentences
from reckoner.producer.importing.reading.urls import Database
from reckoner.shared.errors import MissingExtraError, SourceAwayError, SourceError, UsageError

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

T = TypeVar("T")

# A read-only transaction, and text formats that do not depend on the server's settings.
SESSION = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL client_encoding TO 'UTF8'",
    "SET LOCAL datestyle TO 'ISO'",
    "SET LOCAL timezone TO 'UTC'",
)
BATCHES = {
    "PostgreSQL": {"adbc.postgresql.batch_size_hint_bytes": str(BLOCK_BYTES)},
    "SQLite": {"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)},
}
# The prefixes of the driver and libpq before the server's message.
PREFIXES = re.compile(
    r"(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Failed to [^:']+: |Execution error \[\w+\]: )?(?:could not begin COPY: )?"
)
# By default libpq waits for minutes for a server that does not answer.
TIMEOUT_VARIABLE, TIMEOUT_OPTION, TIMEOUT_S = "PGCONNECT_TIMEOUT", "connect_timeout", 10
# Between two looks whether Ctrl-C came or a query has ended.
LOOK_S = 0.1
# Texts, quoted names and comments are found too, since nothing in them is a parameter; `::` is a cast.
PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::|:since(?:_ms)?\b""", re.DOTALL)
# The year 1, which both databases know.
EARLIEST_MS = -62_135_596_800_000
SEVERITY = re.compile(r"\b(?:ERROR|FATAL):\s+")


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT and its database."""

    database: Database
    text: str

    def since(self, newest_ms: int | None) -> "Query":
        """The query with a time in place of `:since` and `:since_ms`; without one, a time before all others.

        `:since` is a text such as 2026-11-30 14:05:06.789999, in UTC; `:since_ms` are milliseconds since 1970. They are
        written into the query, since PostgreSQL has no parameters for COPY.

        A snapshot's times are cut to milliseconds, so the text is the end of one: else rows within it would come again.
        As a text, too, it is greater than 14:05:06.789, 14:05:06.789123 and, if the millisecond is 0, 14:05:06.

        Raises:
            UsageError: the query has neither.
        """
        ms = EARLIEST_MS if newest_ms is None else newest_ms
        at = str(np.datetime64(ms, "ms")).replace("T", " ") + "999"
        values = {":since": f"'{at}'", ":since_ms": str(ms)}
        bound = PARAMETER.sub(lambda found: values.get(found[0], found[0]), self.text)
        if bound == self.text:
            raise UsageError("With --since, the query needs :since or :since_ms, as in: where at > :since")
        return Query(self.database, bound)

    def require_no_parameter(self) -> None:
        """Check that no parameter is unbound: SQLite would take it for null.

        Raises:
            UsageError: one is.
        """
        if any(found[0].startswith(":since") for found in PARAMETER.finditer(self.text)):
            raise UsageError("The query has :since. Use --append --since, which give it a value.")


class QueryTable:
    """The rows of a query, numbered from 1.

    The query becomes a subquery, so the database refuses anything but a single SELECT.
    """

    name = "The query"
    n_rows: int | None = None
    unit: Literal["line", "row"] = "row"
    form: Form | None = None

    def __init__(self, query: Query) -> None:
        self._database = query.database
        self._query = query.text.strip().removesuffix(";")
        with self._answer("*", "LIMIT 0") as (schema, _):
            names = schema.names
        self.columns: Sequence[str] = names if self._is_postgres else _without_numbers(names)

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        done = 0
        with self._answer(", ".join(map(self._as_text, names))) as (_, batches), self._words("The database stopped"):
            for batch in batches:
                _check(batch)
                lines = np.arange(done + 1, done + batch.num_rows + 1, dtype=np.int64)
                done += batch.num_rows
                yield Batch(lines, dict(zip(names, batch.columns, strict=True)))

    @property
    def _is_postgres(self) -> bool:
        return self._database.kind == "PostgreSQL"

    def _as_text(self, name: str) -> str:
        """The expression for a column's text."""
        column = '"' + name.replace('"', '""') + '"'
        if self._is_postgres:
            return f"CAST({column} AS text)"
        # The coalesce keeps the driver from inferring integers for a batch without values.
        return f"coalesce(CAST({column} AS TEXT), '')"

    @contextmanager
    def _answer(self, what: str, end: str = "") -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Select `what` from the query; yields the schema and a lazy iterator of batches."""
        # On its own lines, since the query may end in a comment.
        statement = f"SELECT {what} FROM (\n{self._query}\n) AS given {end}"  # noqa: S608
        with (
            self._connect() as connection,
            connection.cursor(adbc_stmt_kwargs=BATCHES[self._database.kind]) as cursor,
            futures.ThreadPoolExecutor(1) as thread,
        ):
            # In the main thread the driver would swallow Ctrl-C. Start the thread before the first query.
            thread.submit(int).result()

            def wait(call: Callable[..., T], *arguments: object) -> T:
                asked = thread.submit(call, *arguments)
                # In pieces: the driver imports polars, whose signal handler makes Ctrl-C restart a wait without end.
                while not futures.wait([asked], LOOK_S).done:
                    pass
                return asked.result()

            try:
                with self._words("The database refused the query"):
                    for setting in SESSION if self._is_postgres else ():
                        wait(cursor.execute, setting)
                    wait(cursor.execute, statement)
                reader = cursor.fetch_record_batch()
                yield reader.schema, iter(lambda: wait(next, reader, None), None)
            except BaseException:
                # Repeated until the thread is idle, since a cancel between two steps of the driver has no effect.
                # SQLite cannot cancel and finishes its batch.
                last = thread.submit(int)
                while not last.done():
                    with contextlib.suppress(connection.Error):
                        cursor.adbc_cancel()
                    futures.wait([last], LOOK_S)
                raise

    @contextmanager
    def _connect(self) -> "Iterator[Connection]":
        """Connect to the database."""
        try:
            import adbc_driver_postgresql.dbapi
            import adbc_driver_sqlite.dbapi
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"Importing from a database needs {error.name}, which is not installed: "
                "pip install 'ready-reckoner[sql]'."
            ) from error
        with self._words("The database cannot be opened", SourceAwayError if self._is_postgres else SourceError):
            if self._is_postgres:
                connection = adbc_driver_postgresql.dbapi.connect(self._url_with_timeout())
            else:
                path = self._database.path.absolute()
                with sentences(str(path)), path.open("rb"):
                    connection = adbc_driver_sqlite.dbapi.connect(f"{path.as_uri()}?mode=ro")
        with connection:
            yield connection

    def _url_with_timeout(self) -> str:
        """The URL, with a connect timeout unless one is set."""
        url = self._database.url
        if TIMEOUT_OPTION in url or TIMEOUT_VARIABLE in os.environ:
            return url
        return f"{url}{'&' if '?' in url else '?'}{TIMEOUT_OPTION}={TIMEOUT_S}"

    @contextmanager
    def _words(self, what: str, kind: type[SourceError] = SourceError) -> Iterator[None]:
        """Turn the driver's errors into one sentence without URL and password."""
        from adbc_driver_manager.dbapi import Error

        try:
            yield
        except (Error, pa.ArrowException, OSError) as error:
            raise kind(f"{what}: {self._message(str(error))}.") from error

    def _message(self, text: str) -> str:
        first = next(iter(self._database.without_secrets(text).splitlines()), "")
        message = SEVERITY.sub("", PREFIXES.sub("", first, count=1)).rstrip(". ")
        if "no password supplied" in message:
            message += "; set PGPASSWORD or PGPASSFILE"
        if "syntax error" in message:
            message += "; the query must be a single SELECT"
        return message


def _check(batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise SourceError("The query returned text that is not UTF-8.") from error


def _without_numbers(names: Sequence[str]) -> list[str]:
    """The query's own column names: SQLite calls the second `user` of a subquery `user:1`."""
    known: dict[str, str] = {}
    for name in names:
        given = re.sub(r":\d+\Z", "", name).casefold()
        known[name] = known.get(given, name)
        known.setdefault(name.casefold(), name)
    return [known[name] for name in names]
