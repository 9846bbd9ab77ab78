"""The users that a command is given: as arguments, in a file, or on standard input."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Annotated, TypeAlias

import typer

from reckoner.producer.cli.edge import identifier, readable
from reckoner.shared.ids import MAX_ID_BYTES, require_id

MARK = b"\xef\xbb\xbf"
# A byte order mark, the longest id, the end of the line, and one byte more.
LONGEST_LINE = len(MARK) + MAX_ID_BYTES + len(b"\r\n") + 1

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
        UsageError: none was, or the id of one can be that of nobody (`require_id`).
        SourceError: the file is not there, or what was read is not UTF-8 text.
    """
    from reckoner.shared.errors import SourceError, UsageError

    if not given and file is None:
        raise UsageError("Name a user, or give --users-file, or - for standard input.")
    users: list[str] = []
    for user in given or []:
        users += _lines(_open_input(), "Standard input") if user == "-" else [identifier("user", user)]
    if file is not None:
        try:
            with file.open("rb") as lines:
                users += _lines(lines, f"The file {file}")
        except OSError as error:
            raise SourceError(f"The file {file} cannot be read: {error.strerror}.") from error
    return users


def read_basket(given: list[str]) -> list[str]:
    """The items that `--history` names, those of all its lines of CSV.

    Raises:
        UsageError: it names none, or one that cannot be an id (`require_id`), or a line is no CSV.
    """
    import csv

    from reckoner.shared.errors import UsageError

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
    return [require_id("item", item) for item in items]


def _open_input() -> IO[bytes]:
    from reckoner.shared.errors import SourceError

    if sys.stdin is None:
        raise SourceError("Standard input is closed, and - reads users from it.")
    return sys.stdin.buffer


def _lines(lines: IO[bytes], where: str) -> Iterator[str]:
    """The lines that are not empty, each of which is a user's id."""
    from reckoner.shared.errors import SourceError

    # A line that is too long is read only as far as shows that.
    for number, line in enumerate(iter(partial(lines.readline, LONGEST_LINE), b""), 1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(MARK)
        try:
            user = line.decode(errors="strict" if len(line) <= MAX_ID_BYTES else "replace")
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not UTF-8 text in line {number}.") from error
        if user:
            yield require_id(f"user in line {number}", user)
