"""`reckoner import`: imports interactions from a file or a database as the current snapshot."""

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, require_utf8, run_async, say_if_interrupted, without_extra
from reckoner.producer.cli.import_history import ImportHistory
from reckoner.producer.cli.output import format_count, print_facts, print_json, progress_bar, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reckoner.producer.importing import ImportReport, Query
    from reckoner.producer.importing.rejected import Rejected
    from reckoner.shared.settings import Settings

# Memory of smaller arrays than these is reused, up to so much: that of batches, not of all rows.
KEPT_BYTES = 4 << 20, 64 << 20
# Between two reports of a supervised import.
REPORT_EVERY_S = 0.5
# Reasons printed for bad rows, and for rows left out.
REASONS = 5


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A text file of separated values (CSV and its kin, also compressed), a Parquet file, or a MovieLens "
            "directory or zip file. With --query: "
            "postgresql://user@host/name, sqlite:///path, or env:NAME for a URL in the variable NAME.",
            show_default=False,
        ),
    ],
    query: Annotated[
        str | None, typer.Option(metavar="SELECT", help="The query to import from a database, which is read only.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with user ids.")] = None,
    item: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with item ids.")] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column with weights; without it each row weighs 1.")
    ] = None,
    time_: Annotated[
        str | None,
        typer.Option(
            "--time", metavar="COLUMN", help="The column with times: dates in the usual forms, or numbers since 1970."
        ),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="The format of the times, such as '%d.%m.%Y', if it is not found."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with item titles.")] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="SIGNS", help="What separates values, such as ';' or '::', or: comma, semicolon, tab, bar, blanks."
        ),
    ] = None,
    quote: Annotated[
        str | None, typer.Option(metavar="SIGN", help="What quotes values: double, single, none, or a sign.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="The encoding, such as utf-8, utf-16, latin-1, cp1251, gb18030.")
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first line names the columns. If not, they have numbers: --user 1 --item 2 --no-header.",
        ),
    ] = None,
    compression: Annotated[
        Literal["none", "gzip", "bz2", "xz", "zstd", "zip"] | None, typer.Option(help="How the file is compressed.")
    ] = None,
    repeats: Annotated[
        Literal["last", "sum", "max"],
        typer.Option(help="How to merge the weights of repeated rows of a user and an item."),
    ] = "last",
    keep: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Words for missing values that are ids here, such as NULL,None."),
    ] = None,
    nonpositive: Annotated[
        Literal["drop", "subtract", "bad"],
        typer.Option(
            help="What to do with weights of zero or below: leave the rows out, subtract them from the sum of the user "
            "and the item (with --repeats sum), or count them as bad."
        ),
    ] = "drop",
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all rows that are bad or left out to this CSV file, with reasons."),
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0, max=1, help="The largest share of bad rows, if there are more than twenty."
        ),
    ] = 0.01,
    max_left_out: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0, max=1, help="The largest share of rows left out, if there are more than twenty."
        ),
    ] = 0.5,
    min_share: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=1, help="The least share of the users, items, interactions before."),
    ] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Import whatever these limits say.")] = False,
    night: Annotated[
        str | None,
        typer.Option(hidden=True, help="Report rows as lines to this night, and end when standard input closes."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import interactions as the current snapshot.

    Reads a file, or a database with --query. Put a database password into
    PGPASSWORD or PGPASSFILE, or the whole URL into a variable.

    How a text file is written is found by looking, and printed. Options
    override it: --separator, --quote, --encoding, --no-header, --compression.

    Rows are bad if they cannot be read: an id over 1,024 bytes, a --weight
    that is not a number, a --time that is not a time. Rows are left out if a
    rule says so: a missing user or item, and by default a missing --weight
    or one of zero or below. Both are counted by reason.

    Ids are missing if they are empty, blank, or what other programs write
    for a missing value, spelled exactly so: NULL, null, (null), <null>,
    [NULL], \\N, None, undefined, (not set), NaN, nan, NaT, NA, <NA>, N/A,
    n/a, #N/A. With --keep NULL,None these two are ids.

    If no row is good, nothing changes. A snapshot with too many bad rows or
    rows left out, or much smaller than the current one, is kept but does not
    become the current one, and the exit code is 1.

    Example: reckoner import purchases.csv --user customer --item product
    """
    from reckoner.shared.memory import return_freed_memory
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store
    from reckoner.shared.store.ownership import claim_store_or_prefix
    from reckoner.shared.store.verification import verification_cache

    as_written = {"separator": separator, "quote": quote, "encoding": encoding}
    written = {name: require_utf8(text) for name, text in as_written.items() if text is not None}
    names = {"user": user, "item": item, "weight": weight, "time": time_, "title": title}
    chosen = {name: require_utf8(column) for name, column in names.items() if column is not None}
    settings, began = load_settings(), time.monotonic()
    with _away_for(night):
        store = open_store(settings.store_location)
        run_async(claim_store_or_prefix(settings, store))
    try:
        import pyarrow

        from reckoner.producer.importing import Columns, ImportLimits, Reading, Rules, import_interactions
    except ModuleNotFoundError as error:
        raise without_extra(error, "Importing") from error
    return_freed_memory(*KEPT_BYTES)
    # Arrow's own pool keeps up to a gigabyte of what one thread allocates and another frees.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    found = _find(source, query)
    kept = frozenset(word.strip() for word in (keep or "").split(",")) - {""}
    rules = Rules(keep=kept, nonpositive=nonpositive, time_format=time_format)
    live = None if force else run_async(_live_snapshot(settings))
    limits = None if force else ImportLimits(max_bad, min_share, live, max_left_out)
    past = ImportHistory(settings, store, began, night or "command")
    with (
        say_if_interrupted("Stopped. Nothing was imported."),
        _away_for(night),
        past.failures(),
        progress_bar("Reading", "rows") as bar,
    ):
        report = import_interactions(
            found,
            store,
            columns=Columns(**chosen),
            reading=Reading(**written, header=header, compression=compression),
            repeats=repeats,
            verified=verification_cache(settings.home_path),
            progress=_supervised() if night else bar.update,
            limits=limits,
            rules=rules,
            rejects=rejects,
        )
    took_s = time.monotonic() - began
    past.remember(report)
    _print_report(report, took_s, as_json)
    if report.refused:
        say(f"Refused: {'; '.join(report.refused)}. The current snapshot stays. Use --force to import it anyway.")
        raise typer.Exit(1)


def _supervised() -> "Callable[[int, int | None], None]":
    """End when standard input closes, as it does when the supervisor dies; returns the progress to report rows."""
    last = 0.0

    def wait() -> None:
        # Not through sys.stdin, whose lock the end of the process would wait for.
        while os.read(0, 1):
            pass
        os._exit(1)

    def report(rows: int, _: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            print(f"rows {rows}", file=sys.stderr, flush=True)

    threading.Thread(target=wait, daemon=True).start()
    return report


async def _live_snapshot(settings: "Settings") -> str | None:
    """The snapshot of the live generation; None without one, and if Redis cannot be reached."""
    from redis.exceptions import RedisError

    from reckoner.shared.errors import ReckonerError

    with suppress(ReckonerError, RedisError):
        async with connect(settings) as reckoner:
            live = await reckoner.results.generations.follow(reckoner.keys.current)
            return live.record.snapshot if live.record else None
    return None


@contextmanager
def _away_for(night: str | None) -> "Iterator[None]":
    """Tell a night by the exit code that another try may succeed: the source, the store or the memory failed."""
    from reckoner.shared.errors import SOURCE_AWAY, SourceAwayError, is_environment_error

    try:
        yield
    except Exception as error:
        if night is None or not (isinstance(error, SourceAwayError) or is_environment_error(error)):
            raise
        say(str(error) or type(error).__name__)
        raise typer.Exit(SOURCE_AWAY) from error


def _find(source: str, query: str | None) -> "Path | Query":
    """The file or query to import.

    Raises:
        UsageError: a database without a query, or a file with one.
    """
    from reckoner.producer.importing import Query, find_database, is_database
    from reckoner.shared.errors import UsageError

    if not is_database(source):
        if query is not None:
            raise UsageError(f"--query is for databases, but {source} is a file. Remove --query.")
        return Path(source)
    database = find_database(source, os.environ)
    if query is None:
        raise UsageError(
            'A database needs a query, such as --query "select customer as user_id, product as item_id from ...".'
        )
    return Query(database, require_utf8(query))


def _print_report(report: "ImportReport", took_s: float, as_json: bool) -> None:
    for sentence in _remarks(report):
        say(sentence)
    if as_json:
        print_json(_as_object(report))
        return
    parts = [("repeated", report.repeated), ("left out", report.left_out), ("bad", report.bad_rows)]
    rows = [f"{report.rows:,}", *(f"{count:,} {what}" for what, count in parts if count)]
    interactions = format_count(report.interactions, "interaction")
    print_facts(
        [
            (
                "snapshot",
                f"{report.snapshot_id}, " + ("not the current one" if report.refused else "now the current one"),
            ),
            (
                "holds",
                f"{interactions} of {format_count(report.users, 'user')} with {format_count(report.items, 'item')}",
            ),
            *([("read", f"{report.form.words()}, {format_count(report.rows, 'row')}")] if report.form else []),
            ("rows", ", ".join(rows)),
            ("took", f"{took_s:.1f} s"),
        ]
    )


def _as_object(report: "ImportReport") -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {"snapshot": fields.pop("snapshot_id"), **fields}


def _remarks(report: "ImportReport") -> "Iterator[str]":
    """What happened to columns and rows, a sentence or a reason a line."""
    if report.not_times is not None:
        why = report.why_not_times or "Not all its values are times"
        yield f"Skipped column {report.not_times}: {why.rstrip('.')}. Use --time to import it anyway."
    for role, example in report.without_zeros.items():
        shortened = example.partition(".")[0]
        yield f"Each {role} is a whole number, so {example} is the {role} {shortened}."
    for suspect in report.suspects:
        yield (
            f"The {suspect.kind} {suspect.id!r} has {suspect.share:.1%} of the interactions. If it stands for many, "
            "leave its rows out."
        )
    for kind, words in (("bad", "bad"), ("left_out", "left out")):
        found = [reason for reason in report.rejected if reason.kind == kind]
        for reason in found[:REASONS]:
            yield f"{format_count(reason.rows, 'row')} {words}: {_reason(reason, report.unit)}"
        more = sum(reason.rows for reason in found[REASONS:])
        if more:
            yield f"{format_count(more, 'row')} {words} for other reasons. Use --json or --rejects to see them."


def _reason(found: "Rejected", unit: str) -> str:
    """A reason with an example and the first places."""
    example = "" if found.value is None else f", such as {found.value}" if found.rows > 1 else f": {found.value}"
    places = ", ".join(map(str, found.first)) + (", ..." if found.rows > len(found.first) else "")
    return f"{found.reason}{example} ({unit}{'s' if found.rows > 1 else ''} {places})"
