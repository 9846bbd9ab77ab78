"""Databases: what a query gives, batch by batch.

Through ADBC, whose drivers hand over Arrow record batches while the rows arrive (from PostgreSQL by COPY), and batches
are what the rest of importing works on; SQLAlchemy would make a Python object of every value, and connectorx speaks to
PostgreSQL without libpq, so that its variables, password files and TLS options would not count. Every value comes as
the text that the database itself makes of it, as from a CSV file: ADBC infers the type of an SQLite column from the
first batch and fails at a later value of another, and it knows but some of the types that PostgreSQL has.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import pyarrow as pa

from reckoner.producer.importing.tables import BATCH_ROWS, BLOCK_BYTES, Batch, sentences
from reckoner.producer.importing.urls import Database
from reckoner.shared.errors import MissingExtraError, SourceError

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection

T = TypeVar("T")

# One transaction that can change nothing, and texts that mean the same whatever the server's settings are.
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
# What the driver and libpq put before the server's own words.
AROUND = re.compile(
    r"(?:[A-Z_]+: )?(?:\[\w+\] )?(?:Failed to [^:']+: |Execution error \[\w+\]: )?(?:could not begin COPY: )?"
)
# Of libpq, which otherwise waits for minutes for a server that says nothing.
TIMEOUT_VARIABLE, TIMEOUT_OPTION, TIMEOUT_S = "PGCONNECT_TIMEOUT", "connect_timeout", 10
CANCEL_S = 0.1
SEVERITY = re.compile(r"\b(?:ERROR|FATAL):\s+")


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT, and the database it is put to."""

    database: Database
    text: str


class QueryTable:
    """The rows that a query gives; a row's number counts from 1.

    The query stands inside one of ours, so the database itself refuses whatever is not a single SELECT.
    """

    name = "The query"
    n_rows: int | None = None
    unit: Literal["line", "row"] = "row"

    def __init__(self, query: Query) -> None:
        self._database = query.database
        self._query = query.text.strip().removesuffix(";")
        with self._answer("*", "LIMIT 0") as (schema, _):
            names = schema.names
        self.columns: Sequence[str] = names if self._is_postgres else _without_numbers(names)

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """See `Table.batches`."""
        done = 0
        with self._answer(", ".join(map(self._as_text, names))) as (_, batches), self._words("The database broke off"):
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
        # Whole numbers that became floats because some are missing get their own text back; and where a whole batch has
        # no value, the driver would take the column for one of integers.
        return (
            f"coalesce(CASE WHEN typeof({column}) = 'real' AND {column} = CAST({column} AS INTEGER) "
            f"THEN CAST(CAST({column} AS INTEGER) AS TEXT) ELSE CAST({column} AS TEXT) END, '')"
        )

    @contextmanager
    def _answer(self, what: str, end: str = "") -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Select `what` from the query; yields the schema and the batches, which come as they are asked for."""
        # The query is the caller's own, and may end in a comment.
        statement = f"SELECT {what} FROM (\n{self._query}\n) AS given {end}"  # noqa: S608
        with (
            self._connect() as connection,
            connection.cursor(adbc_stmt_kwargs=BATCHES[self._database.kind]) as cursor,
            futures.ThreadPoolExecutor(1) as aside,
        ):
            # In the main thread the driver would keep Ctrl-C for itself. The thread is there before anything is asked.
            aside.submit(int).result()

            def wait(call: Callable[..., T], *arguments: object) -> T:
                return aside.submit(call, *arguments).result()

            try:
                with self._words("The database refuses the query"):
                    for setting in SESSION if self._is_postgres else ():
                        wait(cursor.execute, setting)
                    wait(cursor.execute, statement)
                reader = cursor.fetch_record_batch()
                yield reader.schema, iter(lambda: wait(next, reader, None), None)
            except BaseException:
                # Whatever the thread still does is before this in its queue. Asked again and again, since between two
                # steps of the driver there is nothing to cancel; SQLite's cannot, and comes to an end with its batch.
                last = aside.submit(int)
                while not last.done():
                    with contextlib.suppress(connection.Error):
                        cursor.adbc_cancel()
                    futures.wait([last], CANCEL_S)
                raise

    @contextmanager
    def _connect(self) -> "Iterator[Connection]":
        """A connection to it."""
        try:
            import adbc_driver_postgresql.dbapi
            import adbc_driver_sqlite.dbapi
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"Importing from a database needs {error.name}, which is not installed: "
                "pip install 'ready-reckoner[sql]'."
            ) from error
        with self._words("The database cannot be opened"):
            if self._is_postgres:
                connection = adbc_driver_postgresql.dbapi.connect(self._patient_url())
            else:
                path = self._database.path.absolute()
                with sentences(str(path)), path.open("rb"):
                    connection = adbc_driver_sqlite.dbapi.connect(f"{path.as_uri()}?mode=ro")
        with connection:
            yield connection

    def _patient_url(self) -> str:
        """The URL, with a time-out for connecting where its owner has set none."""
        url = self._database.url
        if TIMEOUT_OPTION in url or TIMEOUT_VARIABLE in os.environ:
            return url
        return f"{url}{'&' if '?' in url else '?'}{TIMEOUT_OPTION}={TIMEOUT_S}"

    @contextmanager
    def _words(self, what: str) -> Iterator[None]:
        """Turn what the driver raises into one sentence, without the driver's, the URL and its password."""
        from adbc_driver_manager.dbapi import Error

        try:
            yield
        except (Error, pa.ArrowException, OSError) as error:
            raise SourceError(f"{what}: {self._said(str(error))}.") from error

    def _said(self, message: str) -> str:
        first = next(iter(self._database.without_secrets(message).splitlines()), "")
        said = SEVERITY.sub("", AROUND.sub("", first, count=1)).rstrip(". ")
        if "no password supplied" in said:
            said += "; give it in PGPASSWORD or PGPASSFILE"
        if "syntax error" in said:
            said += "; it has to be a single SELECT"
        return said


def _check(batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise SourceError("What the query gives is not UTF-8 text.") from error


def _without_numbers(names: Sequence[str]) -> list[str]:
    """The names as the query has them: in SQLite, the second `user` of a query inside another is `user:1`."""
    known: dict[str, str] = {}
    for name in names:
        given = re.sub(r":\d+\Z", "", name).casefold()
        known[name] = known.get(given, name)
        known.setdefault(name.casefold(), name)
    return [known[name] for name in names]
