"""`reckoner import`: imports interactions from a file or a database as the current snapshot."""

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson, read_list
from reckoner.producer.cli.edge import connect, require_utf8, run_async, say_if_interrupted, without_extra
from reckoner.producer.cli.import_events import events_reader, require_events_alone
from reckoner.producer.cli.import_history import ImportHistory
from reckoner.producer.cli.import_output import print_preview, print_report
from reckoner.producer.cli.output import progress_bar, say
from reckoner.producer.cli.supervised import exits_if_away, report_to_supervisor

if TYPE_CHECKING:
    from reckoner.producer.importing import ImportLimits, ImportReport, ItemColumns, Options, Query
    from reckoner.shared.settings import Settings
    from reckoner.shared.store.protocol import Store
    from reckoner.shared.store.verification import VerificationCache

# Memory of smaller arrays than these is reused, up to so much: that of batches, not of all rows.
KEPT_BYTES = 4 << 20, 64 << 20


def import_(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Files of one kind: separated values (CSV and the like) or JSON lines, also compressed; Parquet; "
            "Feather; Excel or OpenDocument. Or a folder of them, a pattern in quotes, - for standard input, "
            "s3://bucket/key, or a MovieLens directory or zip file. With --query: "
            "postgresql://user@host/name, sqlite:///path, or env:NAME for a URL in the variable NAME.",
            show_default=False,
        ),
    ] = None,
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
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="COLUMN",
            help="The column with event types, such as view and purchase, which give rows their weights and roles.",
        ),
    ] = None,
    tags: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column with the tags of items: a list, or separated.")
    ] = None,
    tag_separator: Annotated[
        str, typer.Option(metavar="CHARACTERS", help="What separates the tags of an item in one value.")
    ] = "|",
    items: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A file, folder or pattern that describes items: their titles, their tags, and when they are "
            "available.",
        ),
    ] = None,
    item_columns: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE=COLUMN,...",
            help="The columns of the items file, if they have other names than item, title, tags, available_from and "
            "available_until.",
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHARACTERS",
            help="What separates values, such as ';' or '::', or: comma, semicolon, tab, bar, blanks.",
        ),
    ] = None,
    quote: Annotated[
        str | None, typer.Option(metavar="CHARACTER", help="What quotes values: double, single, none, or a character.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="The encoding, such as utf-8, utf-16, latin-1, cp1251, gb18030.")
    ] = None,
    escape: Annotated[
        Literal["none", "backslash"] | None,
        typer.Option(help="How a quote within a quoted value is written: after a backslash, or doubled (none)."),
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
    sheet: Annotated[
        str | None, typer.Option(metavar="NAME", help="The sheet of a workbook; by default the first one.")
    ] = None,
    member: Annotated[
        str | None, typer.Option(metavar="NAME", help="The file to import of a zip or tar file that has several.")
    ] = None,
    repeats: Annotated[
        Literal["last", "sum", "max"] | None,
        typer.Option(
            help="How to merge the weights of repeated rows of a user and an item: last by default, and with --append "
            "as in the current snapshot."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Words for missing values that are ids in this source, such as NULL,None."),
    ] = None,
    nonpositive: Annotated[
        Literal["drop", "subtract", "bad"],
        typer.Option(
            help="What to do with weights of zero or below: leave the rows out, subtract them from the sum of the user "
            "and the item (with --repeats sum, not with --append), or count them as bad."
        ),
    ] = "drop",
    positive: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="The ratings in the --weight column that are positive, such as '>=4'; their rows weigh 1.",
        ),
    ] = None,
    below: Annotated[
        Literal["drop", "exclude"],
        typer.Option(
            help="What to do with other ratings than the --positive ones: leave the rows out, or leave their items out "
            "of the users' lists."
        ),
    ] = "drop",
    decimal: Annotated[
        Literal[",", "."] | None,
        typer.Option(help="The decimal sign of weights, if it is not found; thousands must not be separated."),
    ] = None,
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
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="The least share of the current snapshot's users, items and interactions.",
        ),
    ] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Import whatever these limits say.")] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add the rows to those of the current snapshot; --repeats merges them.")
    ] = False,
    since: Annotated[
        bool,
        typer.Option(
            "--since",
            help="With --append and --query: put the newest time of the current snapshot in place of :since, as "
            "'2026-11-30 14:05:06.789999' in UTC, and of :since_ms, in milliseconds since 1970.",
        ),
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="Import the recorded events, too; without SOURCE, append those that the current snapshot lacks.",
        ),
    ] = False,
    source_has_events: Annotated[
        bool,
        typer.Option(
            "--source-has-events",
            help="The source has the events recorded so far, so they count once and are dropped when its lists go "
            "live.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, say what an import would do, and write nothing.")
    ] = False,
    night: Annotated[
        str | None,
        typer.Option(hidden=True, help="Report rows as lines to this night, and end when standard input closes."),
    ] = None,
    without_source: Annotated[
        bool, typer.Option("--without-source", hidden=True, help="Append the events only: the source was appended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import interactions as the current snapshot.

    Reads files, or a database with --query. Put a database password into
    PGPASSWORD or PGPASSFILE, or the whole URL into a variable.

    Several files, and the files of a folder or a pattern, are one table: each
    has a header, or none. Hidden files and those that begin with _ are left
    out.

    The format of a text file is detected and printed. Options override it:
    --separator, --quote, --escape, --encoding, --no-header,
    --compression.

    In JSON, Parquet and Arrow, user.id is the id within user, and a list is
    a row for each of its values.

    Rows are bad if they cannot be read: an id over 1,024 bytes, a --weight
    that is not a number, a --time that is not a time. Rows are left out if a
    rule says so: a missing user, item or --time, and by default a missing
    --weight or one of zero or below. Both are counted by reason.

    Values are missing if they are empty, blank, or what other programs write
    for a missing value, spelled exactly so: NULL, null, (null), <null>,
    [NULL], \\N, None, undefined, (not set), NaN, nan, NaT, NA, <NA>, N/A,
    n/a, #N/A. With --keep NULL,None these two are ids.

    With --type, each row has the weight of its event type, times its own if
    there is a --weight, and a role: history counts for scores, and its items
    are left out of the user's lists; signal only counts; exclude only leaves
    them out, without a look at the row's weight. Built in are interaction and
    purchase (history), view (signal) and dislike (exclude); [event_types] in
    reckoner.toml changes and adds types. Rows of another type are bad, unless
    it has a default. Names match exactly. If one row of a user and an item
    counts, or leaves the item out, that holds for both together.

    Ratings: reckoner import ratings.csv --weight rating --positive '>=4'
    counts the rows with 4 and more alike. With --below exclude, the items of
    the others are left out of lists. Zero is a rating, too.

    If no row is good, nothing changes. A snapshot with too many bad rows or
    rows left out, or much smaller than the current one, is kept but does not
    become the current one, and the exit code is 1.

    Look first: reckoner import purchases.csv --user customer --dry-run reads
    all rows and says what an import would do. The store, the history and
    Redis stay as they are. The exit code is 1 if the limits would refuse it.

    An item has the tags of all its rows. With --items products.csv, titles
    and tags of that file win over those of the interactions. Its options are
    found by looking, --tag-separator and --time-format hold for it too. An
    item without interactions is counted and left out. With --rejects
    bad.csv, its bad rows are in bad.items.csv.

    Append new rows: reckoner import sqlite:///shop.db --append --since
    --query "select user, item, time from bought where time > :since"
    reads what is newer than the current snapshot. The snapshot is that of an
    import of all rows, with two exceptions: sums of fractions may differ in
    the last digit, and where all ids were numbers such as 17850.0, they stay
    17850 when abc is appended.

    With --append, new rows need a --weight if the current snapshot has
    weights, and a --time if it has times; ids are read as it has them. With
    --repeats sum, rows that were imported before are added again.

    Without a current snapshot, --append imports all rows, and :since is in
    the year 1. SQLite compares times as texts: for 2026-11-30T14:05:06Z
    write datetime(time) > :since.

    Recorded events: reckoner import --events appends those that the current
    snapshot lacks, each once. With SOURCE --append --events, both are
    appended. With SOURCE --events, the snapshot has the rows of the source
    and all events that Redis still holds. If the source is your own database,
    which has the purchases that you recorded, use --source-has-events.

    Example: reckoner import purchases.csv --user customer --item product
    """
    from reckoner.shared.errors import UsageError
    from reckoner.shared.event_types import parse_event_types
    from reckoner.shared.memory import return_freed_memory
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import is_store, store_of
    from reckoner.shared.store.ownership import claim_store_or_prefix
    from reckoner.shared.store.verification import verification_cache

    as_written = {"separator": separator, "quote": quote, "encoding": encoding, "sheet": sheet, "member": member}
    written = {name: require_utf8(text) for name, text in as_written.items() if text is not None}
    names = {"user": user, "item": item, "weight": weight, "time": time_, "title": title, "tags": tags, "type": type_}
    chosen = {name: require_utf8(column) for name, column in names.items() if column is not None}
    settings, began = load_settings(), time.monotonic()
    if dry_run and night:
        raise UsageError("A night cannot be a dry run. Remove --dry-run from the source.")
    store = None
    with exits_if_away(night):
        # A dry run creates no store.
        if not dry_run or is_store(settings):
            store = store_of(settings, create=night is None)
        if store is not None and not dry_run:
            run_async(claim_store_or_prefix(settings, store))
    try:
        import pyarrow

        from reckoner.producer.importing import Columns, ImportLimits, Options, Reading, Rules, parse_positive
    except ModuleNotFoundError as error:
        raise without_extra(error, "Importing") from error
    return_freed_memory(*KEPT_BYTES)
    # Arrow's own pool keeps up to a gigabyte of what one thread allocates and another frees.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    read_events = events_reader(settings, events=events, source_has_events=source_has_events)
    for_sources = {**names, **as_written, "query": query, "since": since, "rejects": rejects}
    given = [f"--{name}" for name, value in for_sources.items() if value]
    found = None if without_source else _find(sources or [], query, given, events=events, supervised=night is not None)
    if night and items is not None and _is_standard_input(items):
        raise UsageError("A night cannot import standard input. Name a file.")
    kept = frozenset(word.strip() for word in (keep or "").split(",")) - {""}
    options = Options(
        columns=Columns(**chosen),
        reading=Reading(**written, header=header, compression=compression, escape=escape),
        repeats=repeats,
        rules=Rules(
            keep=kept,
            nonpositive=nonpositive,
            types=parse_event_types(settings.event_types),
            positive=None if positive is None else parse_positive(require_utf8(positive)),
            below=below,
            time_format=time_format,
            decimal=decimal,
            tag_separator=require_utf8(tag_separator),
        ),
        rejects=rejects,
        append=append or found is None,
        since=since and found is not None,
        items=items,
        item_columns=_item_columns(item_columns, items),
        read_events=read_events,
    )
    live = None if force and not dry_run else run_async(_live_snapshot(settings))
    limits = ImportLimits(max_bad, min_share, live, max_left_out)
    if dry_run or store is None:
        refused = _preview(found, store, options, limits, as_json)
        if refused and not force:
            raise typer.Exit(1)
        return
    past = ImportHistory(settings, store, began, night or "command")
    with exits_if_away(night), past.failures():
        verified = verification_cache(settings.home_path)
        report = _import(found, store, options, None if force else limits, verified, night)
    past.remember(report)
    print_report(report, time.monotonic() - began, as_json)
    if report.refused:
        say(f"Refused: {'; '.join(report.refused)}. The current snapshot stays. Use --force to import it anyway.")
        raise typer.Exit(1)


def _import(
    found: "list[Path | str] | Query | None",
    store: "Store",
    options: "Options",
    limits: "ImportLimits | None",
    verified: "VerificationCache",
    night: str | None,
) -> "ImportReport":
    from reckoner.producer.importing import run_import
    from reckoner.shared.store.night_import import note_night_import

    with say_if_interrupted("Stopped. Nothing was imported."), progress_bar("Reading", "rows") as bar:
        progress = report_to_supervisor() if night else bar.update
        on_current = partial(note_night_import, store, night) if night else None
        return run_import(found, store, options, limits, progress, verified=verified, on_current=on_current)


def _preview(
    found: "list[Path | str] | Query | None",
    store: "Store | None",
    options: "Options",
    limits: "ImportLimits",
    as_json: bool,
) -> bool:
    """Print what an import would do; returns whether it would be refused."""
    from reckoner.producer.importing import preview_interactions

    began = time.monotonic()
    with say_if_interrupted("Stopped."), progress_bar("Reading", "rows") as bar:
        preview = preview_interactions(found, store, options, limits, bar.update)
    print_preview(preview, time.monotonic() - began, as_json)
    if preview.refused:
        say(f"An import would be refused: {'; '.join(preview.refused)}. Use --force to import it anyway.")
    return bool(preview.refused)


async def _live_snapshot(settings: "Settings") -> str | None:
    """The snapshot of the live generation; None without one, and if Redis cannot be reached."""
    from redis.exceptions import RedisError

    from reckoner.shared.errors import ReckonerError

    with suppress(ReckonerError, RedisError):
        async with connect(settings) as reckoner:
            live = await reckoner.results.generations.follow(reckoner.keys.current)
            return live.record.snapshot if live.record else None
    return None


def _find(
    sources: list[str], query: str | None, given: list[str], *, events: bool, supervised: bool
) -> "list[Path | str] | Query | None":
    """The files or the query to import; None without sources, where recorded `events` are imported alone.

    Raises:
        UsageError: a database without a query, files with one, the standard input that a supervisor needs, or none of
            these where there are no events, or there are options for sources, `given`.
    """
    from reckoner.producer.importing import Query, find_database, is_database
    from reckoner.shared.errors import UsageError

    if not sources:
        require_events_alone(events=events, given=given)
        return None
    if not any(map(is_database, sources)):
        if query is not None:
            raise UsageError(f"--query is for databases, but {sources[0]} is a file. Remove --query.")
        if supervised and any(map(_is_standard_input, sources)):
            raise UsageError("A night cannot import standard input. Name a file.")
        return [*sources]
    if len(sources) > 1:
        raise UsageError("A database is imported by itself. Name one source.")
    database = find_database(sources[0], os.environ)
    if query is None:
        raise UsageError(
            'A database needs a query, such as --query "select customer as user_id, product as item_id from ...".'
        )
    return Query(database, require_utf8(query))


def _item_columns(given: str | None, file: str | None) -> "ItemColumns":
    """The columns of the items file.

    Raises:
        UsageError: there is no items file, or a role is unknown or has no column.
    """
    from dataclasses import fields

    from reckoner.producer.importing import ItemColumns
    from reckoner.shared.errors import UsageError

    if given is None:
        return ItemColumns()
    if file is None:
        raise UsageError("--item-columns needs --items.")
    roles, columns = [field.name for field in fields(ItemColumns)], dict[str, str]()
    for part in read_list("--item-columns", [given]):
        role, _, column = part.partition("=")
        if role not in roles or not column:
            raise UsageError(f"--item-columns takes ROLE=COLUMN, and the roles are {', '.join(roles)}: {part}.")
        columns[role] = column
    return ItemColumns(**columns)


def _is_standard_input(source: str) -> bool:
    with suppress(OSError, ValueError):
        return source == "-" or os.path.samestat(os.stat(source), os.fstat(0))
    return False
