"""Shared arguments and options: users, baskets and `--json`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Annotated, TypeAlias

import typer

from reckoner.producer.cli.edge import identifier, require_utf8
from reckoner.shared.ids import MAX_ID_BYTES, require_id

MARK = b"\xef\xbb\xbf"
# A byte order mark, the longest id, the line ending, and one byte more.
LONGEST_LINE = len(MARK) + MAX_ID_BYTES + len(b"\r\n") + 1

Users: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="USER", help="User ids; - reads them from standard input, one a line."),
]
UsersFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--users-file", metavar="FILE", help="A file with one user id a line."),
]
Places: TypeAlias = Annotated[
    int | None,
    typer.Option("-n", metavar="N", min=1, help="Places of each list to print; at most 10 by default."),
]
InGeneration: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--generation", metavar="ID", help="A generation, as in `status`; by default the live one.", show_default=False
    ),
]
History: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--history",
        metavar="ITEMS",
        help="The items of an unknown user's basket, the latest last: ids separated by commas, quoted as in CSV. "
        "May be repeated.",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def read_users(given: list[str] | None, file: Path | None) -> list[str]:
    """All given users, in their order.

    Raises:
        UsageError: no user is given, or an id is invalid (`require_id`).
        SourceError: the file does not exist, or the input is not UTF-8 text.
    """
    from reckoner.shared.errors import UsageError

    if not given and file is None:
        raise UsageError("Give users, --users-file, or - for standard input.")
    users: list[str] = []
    for user in given or []:
        users += read_lines("user", None) if user == "-" else [identifier("user", user)]
    if file is not None:
        users += read_lines("user", file)
    return users


def read_lines(kind: str, file: Path | None) -> list[str]:
    """The ids of a `kind` in a file, or in standard input: one a line, blank lines skipped.

    Raises:
        UsageError: an id is invalid (`require_id`).
        SourceError: the file cannot be read, or the input is not UTF-8 text.
    """
    if file is None:
        return list(_lines(kind, open_input(kind), "Standard input"))
    with open_file(file) as lines:
        return list(_lines(kind, lines, f"The file {file}"))


@contextmanager
def open_file(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading.

    Raises:
        SourceError: it cannot be read.
    """
    from reckoner.shared.errors import SourceError

    try:
        with file.open("rb") as stream:
            yield stream
    except OSError as error:
        raise SourceError(f"The file {file} cannot be read: {error.strerror}.") from error


def read_basket(given: list[str]) -> list[str]:
    """The items of all `--history` options.

    Raises:
        UsageError: there are none, an id is invalid (`require_id`), or an option is not valid CSV.
    """
    from reckoner.shared.errors import UsageError

    items = read_ids("item", "--history", given)
    if not items:
        raise UsageError("--history contains no item.")
    return items


def read_ids(kind: str, option: str, given: list[str]) -> list[str]:
    """The ids of a `kind` in all values of an option, separated by commas and quoted as in CSV.

    Raises:
        UsageError: an id is invalid (`require_id`), or a value is not valid CSV.
    """
    return [require_id(kind, one) for one in read_list(option, given)]


def read_list(option: str, given: list[str]) -> list[str]:
    """The texts in all values of an option, separated by commas and quoted as in CSV; empty ones are left out.

    Raises:
        UsageError: a value is not valid CSV.
    """
    import csv

    from reckoner.shared.errors import UsageError

    try:
        rows = list(csv.reader([require_utf8(line) for line in given], strict=True))
    except csv.Error as error:
        raise UsageError(
            f"{option} is not valid CSV ({error}). Put ids with commas or quotes in double quotes, and double their "
            "quotes."
        ) from error
    return [one for row in rows for one in row if one]


def open_input(kind: str) -> IO[bytes]:
    """Standard input, for reading some of a `kind`.

    Raises:
        SourceError: it is closed.
    """
    from reckoner.shared.errors import SourceError

    if sys.stdin is None:
        raise SourceError(f"Standard input is closed, so - cannot read {kind}s from it.")
    return sys.stdin.buffer


def _lines(kind: str, lines: IO[bytes], where: str) -> Iterator[str]:
    from reckoner.shared.errors import SourceError

    # At most LONGEST_LINE bytes of a line are read.
    for number, line in enumerate(iter(partial(lines.readline, LONGEST_LINE), b""), 1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(MARK)
        try:
            one = line.decode(errors="strict" if len(line) <= MAX_ID_BYTES else "replace")
        except UnicodeDecodeError as error:
            raise SourceError(f"{where} is not UTF-8 text in line {number}.") from error
        if one:
            yield require_id(f"{kind} in line {number}", one)
