"""`make bench-night`: everybody's lists and the fit on whole workers, next to other projects, and what each user costs.

Each group of rows is measured by itself, each side once a round, on a fresh server with its default settings. A
measurement that fails or takes too long leaves its rows without a figure and with the reason, and the next one begins.
The results are written after each group.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from reckoner.producer.trial.synthesis import Size
from tests.benchmarks.bare_jobs import OneByOne, ardiq
from tests.benchmarks.environments import NoEnvironmentError, python_with
from tests.benchmarks.frame import (
    Figures,
    Measure,
    Report,
    Row,
    Side,
    WrongAnswerError,
    at_least,
    at_most,
    at_most_times,
    in_turn,
    machine,
    times_faster,
    times_sooner,
)
from tests.benchmarks.hits import BARE as BARE_MGET
from tests.benchmarks.hits import GET, Hits
from tests.benchmarks.night_chart import Scaling, draw
from tests.benchmarks.night_clicks import Clicks
from tests.benchmarks.night_data import SHAPES, DataSet, Shapes
from tests.benchmarks.night_memory import Generations
from tests.benchmarks.night_peers import BareWrites, KernelAlone, Peer
from tests.benchmarks.night_site import Everybody, Fitting, Night
from tests.benchmarks.night_waits import Waits
from tests.root import ROOT
from tests.servers import server_version, start_server

T = TypeVar("T")

RESULTS = ROOT / "tests" / "benchmarks" / "results" / "night.json"
CHART = ROOT / "docs" / "night.svg"
KEPT = "ml-20m"
LENGTH = 20
KILL_EVERY_S = 2.0
WAITING_WORKERS = (8, 32, 64)
ARDIQ_JOBS = 200
MANY_WORKERS = 15
TINY = Size(users=200, items=50, interactions=2_000)
IMPLICIT, SCIPY, SIMILARIPY, TOPN = "implicit", "scipy", "similaripy", "sparse_dot_topn"
# implicit and scipy are packages of `dev`, so that they are measured where nothing can be fetched.
BUILDERS: Mapping[str, tuple[str, str]] = {
    SCIPY: ("call_scipy", "scipy"),
    IMPLICIT: ("call_implicit", "implicit==0.7.*"),
    SIMILARIPY: ("call_similaripy", "similaripy==0.7.*"),
    TOPN: ("call_sparse_dot_topn", "sparse_dot_topn==1.2.*"),
}
WITH_NEWS = "with events of a tenth of the users and with hidden items"
ONE, TWO, EIGHT = "one worker", "two workers", "eight workers"
NEWS = "two workers, with events and hidden items"
KERNEL, BARE, OLD, SPARSE = "the scoring kernel alone", "bare SET", "format 1", "sparse data"
WORKERS_CPU, SERVERS_CPU, MEMORY = "workers' µs a user", "server's µs a user", "bytes a user"


@dataclass
class Bench:
    """The state that all groups share."""

    home: Path
    data_home: Path
    shapes: Shapes
    rounds: int
    limit_s: float
    workers: Sequence[int]
    console: Console
    kept: dict[str, Any] = field(default_factory=dict)
    """What one measurement leaves for another: the first one's lists."""
    scaling: list[Scaling] = field(default_factory=list)

    def tell(self, told: str) -> None:
        """Print a line."""
        self.console.print(f"  {told}", highlight=False)

    async def data(self, name: str) -> DataSet:
        """A data set, made at the first call.

        Raises:
            WrongAnswerError: it could not be made within the time limit.
        """
        return await self._within_limit(lambda: DataSet.make(self.data_home / name, getattr(self.shapes, name)))

    async def measure(self, measures: Mapping[str, Measure]) -> dict[str, Side]:
        """Measure each side once a round. A side that fails, or does not end within the limit, has no figures."""

        def bounded(measure: Measure) -> Measure:
            async def measured() -> Figures:
                return await self._within_limit(measure)

            return measured

        return await in_turn(self.rounds, {name: bounded(it) for name, it in measures.items()}, self.tell)

    async def _within_limit(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self.limit_s):
                return await work()
        except WrongAnswerError:
            raise
        except TimeoutError as error:
            raise WrongAnswerError(f"it has not ended within {self.limit_s:g} s") from error
        except Exception as error:
            raise WrongAnswerError(f"{type(error).__name__}: {error}") from error

    def everybody(self, data: DataSet, workers: int) -> Everybody:
        """The lists of all users."""
        return Everybody(self.home, data, workers, self.kept)

    def builders(self, data: DataSet, *names: str) -> dict[str, Measure]:
        """Other projects that build a model of the data, each as a measurement, which may fail."""
        return {name: _builder(name, data) for name in names}


def _builder(name: str, data: DataSet) -> Measure:
    async def measure() -> Figures:
        program, requirement = BUILDERS[name]
        try:
            python = python_with(name, requirement)
        except NoEnvironmentError as error:
            raise WrongAnswerError(str(error)) from error
        return await Peer(python, program, "build", data)()

    return measure


async def everybody(bench: Bench) -> list[Row]:
    """All users' lists, and what they cost."""
    data = await bench.data("everybody")
    sides = await bench.measure({
        TWO: bench.everybody(data, 2),
        IMPLICIT: Peer(Path(sys.executable), "call_implicit", "score", data, LENGTH),
        KERNEL: (kernel := KernelAlone(data, LENGTH)),
        BARE: BareWrites(bench.home, bench.kept, kernel),
        OLD: BareWrites(bench.home, bench.kept, format_1=True),
        ONE: bench.everybody(data, 1),
        EIGHT: bench.everybody(data, 8),
        NEWS: replace(bench.everybody(data, 2), kept={}, news=True),
    })  # fmt: skip
    two, one, eight, news = sides[TWO], sides[ONE], sides[EIGHT], sides[NEWS]
    alone = "s without the server"
    return [
        times_sooner(
            "all lists in the cache, compared with implicit's `recommend` in two forked processes",
            two,
            sides[IMPLICIT],
            "s",
            "s",
            2,
        ),
        at_most_times("workers' CPU a user, compared with the kernel's", two, sides[KERNEL], WORKERS_CPU, "µs", 3),
        at_most_times("server's CPU a user, compared with bare SET", two, sides[BARE], SERVERS_CPU, "µs", 1.2),
        at_most_times("memory of the server a user, compared with format 1", two, sides[OLD], MEMORY, "bytes", 0.62),
        times_sooner(
            "all lists, two workers compared with one, the server on a core of its own", two, one, alone, "s", 1.9
        ),
        at_most_times("workers' CPU a user, eight workers compared with one", eight, one, WORKERS_CPU, "µs", 1.1),
        times_sooner(f"all lists {WITH_NEWS}, compared with implicit's", news, sides[IMPLICIT], "s", "s", 2),
        at_most_times(
            f"workers' CPU a user {WITH_NEWS}, compared with the kernel's", news, sides[KERNEL], WORKERS_CPU, "µs", 3
        ),
        at_most_times(
            f"server's CPU a user {WITH_NEWS}, compared with bare SET", news, sides[BARE], SERVERS_CPU, "µs", 1.2
        ),
    ]


async def waits(bench: Bench) -> list[Row]:
    """Many workers that wait."""
    data, kept = await bench.data("many_users"), dict[str, float]()
    measures: dict[str, Measure] = {"one worker that does not wait": Waits(bench.home, data, 1, kept)}
    measures |= {f"{count} workers": Waits(bench.home, data, count, kept) for count in WAITING_WORKERS}
    sides = await bench.measure(measures)
    what = "workers whose kernels wait 63 times as long as their block needs CPU: the share of time that they wait"
    return [at_least(f"{count} {what}", sides[f"{count} workers"], "efficiency", "", 0.95) for count in WAITING_WORKERS]


async def memory(bench: Bench) -> list[Row]:
    """Workers that have seen three generations."""
    data = await bench.data("everybody")
    sides = await bench.measure({TWO: Generations(bench.home, data)})
    return [at_most("private memory of a worker after three generations", sides[TWO], "MB", "MB", 150)]


async def fit_sparse(bench: Bench) -> list[Row]:
    """The fit of a shop's data: many items, short histories."""
    data = await bench.data("sparse")
    sides = await bench.measure({TWO: Fitting(bench.home, data, 2), **bench.builders(data, *BUILDERS)})
    what = f"fit, {data.items:,} items, {data.interactions:,} interactions, compared with"
    fastest = min((sides[name] for name in BUILDERS), key=lambda side: side.median("s") or float("inf"))
    return [
        times_sooner(f"{what} the fastest of {', '.join(BUILDERS)}", sides[TWO], fastest, "s", "s", 1),
        times_sooner(f"{what} implicit", sides[TWO], sides[IMPLICIT], "s", "s", 3),
    ]


async def fit_wide(bench: Bench) -> list[Row]:
    """The fit of still more items."""
    data = await bench.data("wide")
    sides = await bench.measure({TWO: Fitting(bench.home, data, 2), **bench.builders(data, SCIPY)})
    items, interactions = f"{data.items:,} items", f"{data.interactions:,} interactions"
    what = f"CPU of a fit, {items}, {interactions}, compared with scipy's product"
    return [at_most_times(what, sides[TWO], sides[SCIPY], "CPU s", "s", 1)]


async def sparse(bench: Bench) -> list[Row]:
    """All users' lists of a shop's data."""
    few, many = await bench.data("everybody"), await bench.data("sparse")
    # The lists of so many users are not compared: that would take longer than making them.
    measures = {SPARSE: replace(bench.everybody(many, 2), compared=False), TWO: bench.everybody(few, 2)}
    sides = await bench.measure(measures)
    what = f"workers' CPU a user, {many.items:,} items, compared with {few.items:,} items"
    return [at_most_times(what, sides[SPARSE], sides[TWO], WORKERS_CPU, "µs", 1)]


async def fit_twice(bench: Bench) -> list[Row]:
    """The fit of four times the data, by two workers and by one."""
    data = await bench.data("fourfold")
    sides = await bench.measure({TWO: Fitting(bench.home, data, 2), ONE: Fitting(bench.home, data, 1)})
    what = f"fit, {data.interactions:,} interactions, two workers compared with one"
    return [times_sooner(what, sides[TWO], sides[ONE], "s", "s", 1.8)]


async def hit(bench: Bench) -> list[Row]:
    """A client's `get` of a cached list."""
    side = (await bench.measure({"hit": Hits(bench.home)}))["hit"]
    what = "CPU of a client's `get` of a cached list, compared with a bare MGET that is decoded"
    return [at_most_times(what, _only(side, "get", GET), _only(side, "MGET", BARE_MGET), "median", "µs", 3)]


async def click(bench: Bench) -> list[Row]:
    """A click on idle workers, next to three jobs of ArdiQ."""
    data, jobs = await bench.data("everybody"), "three no-op jobs of ArdiQ"

    async def three() -> Figures:
        try:
            queue = ardiq(python_with("ardiq", "ardiq==1.2.*", "3.12"))
        except NoEnvironmentError as error:
            raise WrongAnswerError(f"ArdiQ is not measured: {error}") from error
        with start_server(bench.home / f"ardiq-{time.monotonic_ns()}") as server:
            figures = await OneByOne(server.url, bench.home, queue, ARDIQ_JOBS)()
        return {name.removeprefix("three: "): value for name, value in figures.items() if name.startswith("three: ")}

    sides = await bench.measure({"click": Clicks(bench.home, data), jobs: three})
    what = "click to cached list on idle workers, 4 chunks"
    return [
        at_most_times(f"{what}: median", sides["click"], sides[jobs], "median", "ms", 1.5),
        at_most_times(f"{what}: 99th percentile", sides["click"], sides[jobs], "99th percentile", "ms", 2),
    ]


async def click_in_run(bench: Bench) -> list[Row]:
    """A click beside the night."""
    data = await bench.data("everybody")
    side = (await bench.measure({"clicks": Clicks(bench.home, data, beside=True)}))["clicks"]
    idle = _only(side, "an idle click", "median")
    what = "click to cached list while all users' lists are computed"
    return [
        at_most_times(f"{what}: median", _only(side, "click", "busy: median"), idle, "median", "ms", 2.5),
        at_most_times(
            f"{what}: 99th percentile", _only(side, "click", "busy: 99th percentile"), idle, "median", "ms", 7
        ),
    ]


def _only(side: Side, name: str, figure: str) -> Side:
    """One figure of a side as the median of a side of its own."""
    other = Side(name, side.trouble)
    for value in side.values(figure):
        other.add({"median": value})
    return other


async def kills(bench: Bench) -> list[Row]:
    """A night whose workers are killed: the lists must be the same.

    The data have many users: a killed worker's jobs are started again after a lease of five seconds, and a night has to
    be longer than that.
    """
    data = await bench.data("sparse")
    undisturbed = replace(bench.everybody(data, 2), kept={})
    killed, calm = "killed", "undisturbed"
    sides = await bench.measure({calm: undisturbed, killed: replace(undisturbed, kill_every_s=KILL_EVERY_S)})
    what = f"all lists, the same bytes, with a worker killed every {KILL_EVERY_S:g} s"
    return [at_most_times(what, sides[killed], sides[calm], "s", "s", 1.5)]


async def scaling(bench: Bench) -> list[Row]:
    """More and more workers."""
    data = await bench.data("everybody")
    lists = {count: f"lists by {count}" for count in bench.workers}
    fits = {count: f"fit by {count}" for count in bench.workers}
    measures: dict[str, Measure] = {name: bench.everybody(data, count) for count, name in lists.items()}
    measures |= {name: Fitting(bench.home, data, count) for count, name in fits.items()}
    sides = await bench.measure(measures)
    for count in bench.workers:
        all_lists, fit = sides[lists[count]], sides[fits[count]]
        bench.scaling.append(
            Scaling(
                workers=count,
                users_per_second=all_lists.median("users/s"),
                workers_us=all_lists.median(WORKERS_CPU),
                server_us=all_lists.median(SERVERS_CPU),
                server_share=all_lists.median("server's share of a core"),
                fit_s=fit.median("s"),
            )
        )
    one, most = min(bench.workers), max(bench.workers)
    if one != 1 or most < MANY_WORKERS:
        return []
    what = f"{most} workers compared with one"
    return [
        times_faster(f"all lists, {what}", sides[lists[most]], sides[lists[one]], "users/s", "users/s", 6),
        times_sooner(f"fit, {what}", sides[fits[most]], sides[fits[one]], "s", "s", 4),
    ]


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "everybody": everybody,
    "scaling": scaling,
    "waits": waits,
    "memory": memory,
    "fit-sparse": fit_sparse,
    "fit-wide": fit_wide,
    "sparse": sparse,
    "fit-twice": fit_twice,
    "hit": hit,
    "click": click,
    "click-in-run": click_in_run,
    "kills": kills,
}


class NightReport(Report, frozen=True):
    """The rows, and the speeds by the number of workers."""

    scaling: list[Scaling]


def main() -> int:
    """Measure, print the table, and keep it unless only a part was measured; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--like", choices=SHAPES, default=KEPT, help="other data than the default are not kept")
    parser.add_argument("--only", help="groups of rows with commas between, which are printed and not kept")
    parser.add_argument("--workers", default="1,2", help="numbers of workers for the picture, with commas between")
    parser.add_argument("--limit-s", type=float, default=300.0, help="the time limit of one measurement")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no group begins after so many")
    parser.add_argument("--data", type=Path, help="a folder that keeps the data for another time")
    parser.add_argument("--results", type=Path, help="keep the results in this file, and the picture beside it")
    options = parser.parse_args()
    groups = options.only.split(",") if options.only else list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"unknown group {', '.join(unknown)}; the groups are {', '.join(GROUPS)}")
    results, chart = options.results, options.results and options.results.with_suffix(".svg")
    if results is None and not options.only and options.like == KEPT:
        results, chart = RESULTS, CHART
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        home = Path(scratch)
        workers = [int(count) for count in options.workers.split(",")]
        data_home = options.data.absolute() if options.data else home / "data"
        bench = Bench(home, data_home, SHAPES[options.like], options.rounds, options.limit_s, workers, console)
        about = machine(f"Valkey {server_version()}", f"synthetic data like {options.like}")
        report = asyncio.run(_measure(bench, groups, until, about, results))
    report.show(console, f"Night, medians of {options.rounds} rounds")
    for point in report.scaling:
        console.print(str(point), highlight=False)
    if chart is not None and any(point.users_per_second for point in report.scaling):
        chart.write_text(draw(report.scaling, report.machine), encoding="utf-8")
    if results == RESULTS:
        console.print("Run `make docs`: the pages take their figures from these results.")
    return 0 if all(row.met for row in report.rows) else 1


async def _compile(bench: Bench) -> None:
    """Run a small night, so that no measurement compiles kernels."""
    data = await DataSet.make(bench.home / "tiny", TINY)
    async with Night(bench.home / "compile", data) as night:
        await night.start(1)
        await night.fit()
        await night.batch()


async def _measure(bench: Bench, groups: Sequence[str], until: float, about: str, results: Path | None) -> NightReport:
    rows: list[Row] = []
    await _compile(bench)
    for group in groups:
        began = time.monotonic()
        bench.console.print(group)
        if began > until:
            rows.append(_missing(group, "the time was up"))
        else:
            try:
                rows += await GROUPS[group](bench)
            except WrongAnswerError as error:
                rows.append(_missing(group, str(error)))
        bench.tell(f"took {time.monotonic() - began:.0f} s")
        report = NightReport(about, rows, bench.scaling)
        if results is not None:
            report.write(results)
    return report


def _missing(group: str, why: str) -> Row:
    """A row without figures in the place of a group's own."""
    what = (GROUPS[group].__doc__ or group).strip().rstrip(".")
    return Row(what=what[0].lower() + what[1:], value=None, unit="", target="", met=False, trouble=why)
