"""`make bench-import`: imports of large files, next to DuckDB that reads, groups and sorts the same file.

Each side is a whole process, from its start to its end: `reckoner import` also checks each row, numbers the ids, and
writes, hashes and publishes the snapshot. Each side is measured once a round.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reckoner.producer.trial.interaction_files import write_interactions
from reckoner.producer.trial.synthesis import LIKE, Block, Size, synthesise
from reckoner.shared.interpreter import module_command
from tests.benchmarks.environments import NoEnvironmentError, installed, python_with
from tests.benchmarks.frame import (
    Figures,
    Measure,
    Report,
    Row,
    Side,
    WrongAnswerError,
    at_most,
    at_most_times,
    in_turn,
    machine,
)
from tests.benchmarks.night_data import SEED, store_url
from tests.root import ROOT

RESULTS = ROOT / "tests" / "benchmarks" / "results" / "import.json"
KEPT = "ml-20m"
REQUIREMENT = "duckdb==2.0.*"
OURS, DUCKDB = "import", "DuckDB"
COPIES = 5
BYTES_PER_GB = 1e9
KIB = 1 if sys.platform == "darwin" else 1024


@dataclass
class Bench:
    """The state that all groups share."""

    home: Path
    size: Size
    rounds: int
    duckdb: Path | None
    console: Console

    def tell(self, told: str) -> None:
        """Print a line."""
        self.console.print(f"  {told}", highlight=False)

    async def compare(self, ending: str, copies: int, limit_gb: float) -> list[Row]:
        """Both sides on a file of interactions, each user `copies` times under another id, within some memory."""
        file = self.home / f"made.{ending}"
        await asyncio.to_thread(write_interactions, file, _copied(self.size, copies), lambda _: None)
        n = copies * self.size.interactions
        measures: dict[str, Measure] = {OURS: Import(file, self.home, n)}
        if self.duckdb is not None:
            command = (str(self.duckdb), "tests/benchmarks", "call_duckdb", str(file), f"{limit_gb:g}")
            measures[DUCKDB] = Process(command, os.environ, n)
        sides = {DUCKDB: Side(DUCKDB, "it is not installed")} | await in_turn(self.rounds, measures, self.tell)
        await asyncio.to_thread(file.unlink)
        what = f"import of {n:,} rows of {ending.upper() if ending == 'csv' else ending.capitalize()}"
        read = "compared with DuckDB that reads, groups and sorts them"
        return [
            at_most_times(f"{what}, {read}", sides[OURS], sides[DUCKDB], "s", "s", 2.5),
            at_most(f"{what}: peak memory", sides[OURS], "GB", "GB", limit_gb),
            at_most_times(f"{what}: peak memory, compared", sides[OURS], sides[DUCKDB], "GB", "GB", 1),
        ]


@dataclass(frozen=True)
class Process:
    """A process that prints JSON with the number of interactions."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    interactions: int

    async def __call__(self) -> Figures:
        """Its seconds, its CPU time and its peak memory.

        Raises:
            WrongAnswerError: it failed, or found another number of interactions.
        """
        return await asyncio.to_thread(self._measured)

    def _measured(self) -> Figures:
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(self.command, cwd=ROOT, env=self.environ, stdout=out, stderr=said)
            try:
                _, status, used = os.wait4(process.pid, 0)
            except BaseException:
                process.kill()
                raise
            process.returncode = os.waitstatus_to_exitcode(status)
            took_s = time.monotonic() - began
            for file in (out, said):
                file.seek(0)
            if process.returncode:
                last = " ".join(said.read().strip().splitlines()[-1:])
                raise WrongAnswerError(f"its process ended with {process.returncode}: {last}")
            found = json.loads(out.read())["interactions"]
        if found != self.interactions:
            raise WrongAnswerError(f"it found {found:,} interactions instead of {self.interactions:,}")
        return {"s": took_s, "CPU s": used.ru_utime + used.ru_stime, "GB": used.ru_maxrss * KIB / BYTES_PER_GB}


@dataclass(frozen=True)
class Import:
    """`reckoner import` into a new store."""

    file: Path
    home: Path
    interactions: int

    async def __call__(self) -> Figures:
        """See `Process`."""
        with tempfile.TemporaryDirectory(dir=self.home) as home:
            environ = os.environ | {
                "PYTHONPATH": str(ROOT),
                "RECKONER_HOME": home,
                "RECKONER_STORE_URL": store_url(Path(home)),
            }
            command = module_command("reckoner.producer", "import", str(self.file), "--json")
            return await Process(tuple(command), environ, self.interactions)()


def _copied(size: Size, copies: int) -> Iterator[Block]:
    for number in range(copies):
        for block in synthesise(size, SEED):
            yield block._replace(users=block.users + number * size.users)


async def parquet(bench: Bench) -> list[Row]:
    """A Parquet file."""
    return await bench.compare("parquet", 1, 1.5)


async def csv(bench: Bench) -> list[Row]:
    """A CSV file."""
    return await bench.compare("csv", 1, 1.5)


async def hundred(bench: Bench) -> list[Row]:
    """A Parquet file whose rows are kept on disk meanwhile."""
    return await bench.compare("parquet", COPIES, 4)


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {"parquet": parquet, "csv": csv, "hundred": hundred}
# The others are measured only when they are named.
USUAL = ("parquet", "csv")


def main() -> int:
    """Measure, print the table, and keep it unless only a part was measured; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--like", choices=LIKE, default=KEPT, help="other data than the default are not kept")
    parser.add_argument("--only", help="groups of rows with commas between, which are printed and not kept")
    options = parser.parse_args()
    groups = options.only.split(",") if options.only else list(USUAL)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"unknown group {', '.join(unknown)}; the groups are {', '.join(GROUPS)}")
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    report = asyncio.run(_measure(groups, options.like, options.rounds, console))
    report.show(console, f"Import, medians of {options.rounds} rounds")
    if not options.only and options.like == KEPT:
        report.write(RESULTS)
    return 0 if all(row.met for row in report.rows) else 1


async def _measure(groups: list[str], like: str, rounds: int, console: Console) -> Report:
    rows, about = list[Row](), [f"synthetic data like {like}"]
    try:
        duckdb = python_with("duckdb", REQUIREMENT)
        about.append(installed(duckdb, "duckdb"))
    except NoEnvironmentError as error:
        duckdb = None
        console.print(f"DuckDB is not measured: {error}", highlight=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        bench = Bench(Path(scratch), LIKE[like], rounds, duckdb, console)
        for group in groups:
            console.print(group)
            rows += await GROUPS[group](bench)
    return Report(machine(*about), rows)
