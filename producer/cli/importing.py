"""`reckoner import`: imports interactions from a file or a database as the current snapshot."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import require_utf8, run_async, say_if_interrupted, without_extra
from reckoner.producer.cli.output import format_count, print_facts, print_json, progress_bar, say

if TYPE_CHECKING:
    from reckoner.producer.importing import ImportReport, Query


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A CSV or Parquet file, or a MovieLens directory or zip file. With --query: "
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
            "--time", metavar="COLUMN", help="The column with times: epoch seconds or milliseconds, or ISO 8601."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column with item titles.")] = None,
    repeats: Annotated[
        Literal["last", "sum", "max"],
        typer.Option(help="How to merge the weights of repeated rows of a user and an item."),
    ] = "last",
    as_json: AsJson = False,
) -> None:
    """Import interactions as the current snapshot.

    Reads a file, or a database with --query. Put a database password into
    PGPASSWORD or PGPASSFILE, or the whole URL into a variable.

    Bad rows are skipped and listed: rows with an id that is empty or longer
    than 1,024 bytes, a --weight that is not a number above zero, or a --time
    that is not a time. If no row is good, nothing changes.

    Example: reckoner import purchases.csv --user customer --item product
    """
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store
    from reckoner.shared.store.ownership import claim_store_or_prefix
    from reckoner.shared.store.verification import verification_cache

    names = {"user": user, "item": item, "weight": weight, "time": time_, "title": title}
    chosen = {name: require_utf8(column) for name, column in names.items() if column is not None}
    settings, began = load_settings(), time.monotonic()
    store = open_store(settings.store_location)
    run_async(claim_store_or_prefix(settings, store))
    try:
        from reckoner.producer.importing import Columns, import_interactions
    except ModuleNotFoundError as error:
        raise without_extra(error, "Importing") from error
    found = _find(source, query)
    with say_if_interrupted("Stopped. Nothing was imported."), progress_bar("Reading", "rows") as bar:
        report = import_interactions(
            found,
            store,
            columns=Columns(**chosen),
            repeats=repeats,
            verified=verification_cache(settings.home_path),
            progress=bar.update,
        )
    _print_report(report, time.monotonic() - began, as_json)


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
    bad = [{report.bad_unit: number, "reason": reason} for number, reason in report.bad_examples]
    _say_skipped(report)
    if as_json:
        print_json(_as_object(report) | {"bad_examples": bad})
        return
    rows = f"{report.rows:,}"
    if report.repeated:
        rows += f", {report.repeated:,} of them repeated"
    if report.bad_rows:
        rows += f", {report.bad_rows:,} bad"
    interactions = format_count(report.interactions, "interaction")
    print_facts(
        [
            ("snapshot", f"{report.snapshot_id}, now the current one"),
            (
                "holds",
                f"{interactions} of {format_count(report.users, 'user')} with {format_count(report.items, 'item')}",
            ),
            ("rows", rows),
            ("took", f"{took_s:.1f} s"),
        ]
    )


def _as_object(report: "ImportReport") -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(report)
    return {"snapshot": fields.pop("snapshot_id"), **fields}


def _say_skipped(report: "ImportReport") -> None:
    if report.not_times is not None:
        say(f"Skipped column {report.not_times}: not all its values are times. Use --time to import it anyway.")
    for number, reason in report.bad_examples:
        say(f"{report.bad_unit} {number}: {reason}")
    more = report.bad_rows - len(report.bad_examples)
    if more:
        say(f"and {format_count(more, 'more bad row')}")
