"""The users that a command is given: as arguments, in a file, or on standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from producer.cli.edge import readable

Users: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="USER", help="The users' ids; - reads them from standard input, one a line."),
]
UsersFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--users-file", metavar="FILE", help="A file with a user's id on each line."),
]
Places: TypeAlias = Annotated[
    int | None,
    typer.Option("-n", metavar="N", min=1, help="How many places of each list to print; 10 if it has as many."),
]
History: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--history",
        metavar="ITEMS",
        help="For somebody unknown who has had these items: their ids with commas between, one that holds a comma or a "
        "quote in double quotes, as CSV has it. May be given several times.",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def read_users(given: list[str] | None, file: Path | None) -> list[str]:
    """All users that were named, in the order in which they were.

    Raises:
        UsageError: none was.
        SourceError: the file is not there, or what was read is not UTF-8 text.
    """
    from shared.errors import SourceError, UsageError

    if not given and file is None:
        raise UsageError("Name a user, or give --users-file, or - for standard input.")
    users: list[str] = []
    for user in given or []:
        users += _lines(_read_input(), "Standard input") if user == "-" else [readable(user)]
    if file is not None:
        try:
            users += _lines(file.read_bytes(), f"The file {file}")
        except OSError as error:
            raise SourceError(f"The file {file} cannot be read: {error.strerror}.") from error
    return users


def read_basket(given: list[str]) -> list[str]:
    """The items that `--history` names, those of all its lines of CSV.

    Raises:
        UsageError: it names none, or a line is no CSV.
    """
    import csv

    from shared.errors import UsageError

    try:
        rows = list(csv.reader([readable(line) for line in given], strict=True))
    except csv.Error as error:
        raise UsageError(
            f"--history is no line of CSV ({error}): put an id with a comma or a quote into double quotes, and write "
            "each quote in it twice."
        ) from error
    items = [item for row in rows for item in row if item]
    if not items:
        raise UsageError("--history names no item.")
    return items


def _read_input() -> bytes:
    from shared.errors import SourceError

    if sys.stdin is None:
        raise SourceError("Standard input is closed, and - reads users from it.")
    return sys.stdin.buffer.read()


def _lines(data: bytes, where: str) -> Iterator[str]:
    """The lines that are not empty."""
    from shared.errors import SourceError

    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            user = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not UTF-8 text in line {number}.") from error
        if user:
            yield user
