"""`reckoner import`: interactions in a file or a database become the current snapshot."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reckoner.producer.cli.edge import complete, readable, stopped, without_extra
from reckoner.producer.cli.output import counted, print_facts, print_json, progress_bar, say
from reckoner.producer.cli.users import AsJson

if TYPE_CHECKING:
    from reckoner.producer.importing import ImportReport, Query


def register(app: typer.Typer) -> None:
    """Add the command, whose name is a word that Python keeps for itself."""
    app.command("import")(import_)


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A CSV or Parquet file, or a MovieLens directory or zip file; with --query "
            "postgresql://user@host/name or sqlite:///path, or env:NAME for the URL that the variable NAME holds.",
            show_default=False,
        ),
    ],
    query: Annotated[
        str | None, typer.Option(metavar="SELECT", help="What to import from a database; nothing in it is changed.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of users.")] = None,
    item: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of items.")] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of weights; without it each row weighs 1.")
    ] = None,
    time_: Annotated[
        str | None,
        typer.Option("--time", metavar="COLUMN", help="The column of times: epoch seconds or milliseconds, or ISO."),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column of the items' titles.")] = None,
    repeats: Annotated[
        Literal["last", "sum", "max"], typer.Option(help="Which weight counts where a pair stands in several rows.")
    ] = "last",
    as_json: AsJson = False,
) -> None:
    """Import interactions, and make them the current snapshot.

    From a file, or from a database with a query. A password belongs into
    PGPASSWORD or PGPASSFILE, or with the URL into a variable.

    Bad rows are left out and shown with their numbers: those with an empty id
    or one over 1,024 bytes, without a number above zero in the column that
    --weight names, or without a time in the one that --time names. A file
    without one good row changes nothing.

    Example: reckoner import purchases.csv --user customer --item product
    """
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store
    from reckoner.shared.store.ownership import claim_store_or_prefix

    names = {"user": user, "item": item, "weight": weight, "time": time_, "title": title}
    chosen = {name: readable(column) for name, column in names.items() if column is not None}
    settings, began = load_settings(), time.monotonic()
    store = open_store(settings.store_location)
    complete(claim_store_or_prefix(settings, store))
    try:
        from reckoner.producer.importing import Columns, import_interactions
    except ModuleNotFoundError as error:
        raise without_extra(error, "Importing") from error
    found = _find(source, query)
    with stopped("Stopped; nothing was imported."), progress_bar("Reading", "rows") as bar:
        report = import_interactions(found, store, columns=Columns(**chosen), repeats=repeats, progress=bar.update)
    _print_report(report, time.monotonic() - began, as_json)


def _find(source: str, query: str | None) -> "Path | Query":
    """What to import.

    Raises:
        UsageError: a database without a query, or a file with one.
    """
    from reckoner.producer.importing import Query, find_database, is_database
    from reckoner.shared.errors import UsageError

    if not is_database(source):
        if query is not None:
            raise UsageError(f"--query is for databases, and {source} is a file: leave it out.")
        return Path(source)
    database = find_database(source, os.environ)
    if query is None:
        raise UsageError('A database needs a query: --query "select customer as user_id, product as item_id from ...".')
    return Query(database, readable(query))


def _print_report(report: "ImportReport", took_s: float, as_json: bool) -> None:
    bad = [{report.bad_unit: number, "reason": reason} for number, reason in report.bad_examples]
    _say_what_was_left(report)
    if as_json:
        print_json(_as_object(report) | {"bad_examples": bad})
        return
    rows = f"{report.rows:,}"
    if report.repeated:
        rows += f", {report.repeated:,} of them repeated"
    if report.bad_rows:
        rows += f", {report.bad_rows:,} bad"
    interactions = counted(report.interactions, "interaction")
    print_facts(
        [
            ("snapshot", f"{report.snapshot_id}, now the current one"),
            ("holds", f"{interactions} of {counted(report.users, 'user')} with {counted(report.items, 'item')}"),
            ("rows", rows),
            ("took", f"{took_s:.1f} s"),
        ]
    )


def _as_object(report: "ImportReport") -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(report)
    return {"snapshot": told.pop("snapshot_id"), **told}


def _say_what_was_left(report: "ImportReport") -> None:
    if report.not_times is not None:
        say(f"The column {report.not_times} is not used, since not all of it is a time; name it with --time to use it.")
    for number, reason in report.bad_examples:
        say(f"{report.bad_unit} {number}: {reason}")
    more = report.bad_rows - len(report.bad_examples)
    if more:
        say(f"and {counted(more, 'more bad row')}")
