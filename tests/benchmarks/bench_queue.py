"""`make bench-queue`: the engine beside stock arq and ArdiQ, and what a click waits for.

Each group of rows is measured by itself, round by round, each side once a round. What is measured is said where it is:
`bare_jobs` has jobs that do nothing or wait, `takeover` a worker that is killed, `whole_system` whole jobs on whole
workers. The server is the embedded one as it comes, with its append-only file synced once a second, the same for all.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from shared.redis.embedded import EmbeddedServer
from tests.benchmarks.bare_jobs import BareJobs, Queue, ardiq, fill_engine, fill_stock
from tests.benchmarks.environments import NoEnvironmentError, peer_python
from tests.benchmarks.frame import Measure, Report, Row, Side, at_most, in_turn, machine, times_faster
from tests.benchmarks.stock_flows import StockSite
from tests.benchmarks.takeover import Takeover
from tests.benchmarks.whole_system import Site, clicks, clicks_beside_a_run, flows, idle
from tests.interactions import Interactions
from tests.movielens import read_movielens
from tests.servers import server_version, start_server

RESULTS = Path(__file__).absolute().parent / "results" / "queue.json"
PYTHON = Path(sys.executable)
STOCK = Queue("stock arq", PYTHON, ("worker_arq",), fill_stock)
ENGINE = Queue("engine", PYTHON, ("worker_arq", "--lease-s", "3"), fill_engine)
NO_OPS = 10_000
WAITING = 1_000
CLICKS = 200
IDLE_S = 10.0
# 671 users of MovieLens, so many times: more than 100,000.
COPIES = 150


@dataclass(frozen=True)
class Bench:
    """What the groups share."""

    server: EmbeddedServer
    home: Path
    data: Interactions
    rounds: int
    console: Console

    @property
    def url(self) -> str:
        """The database of bare jobs, which is emptied again and again."""
        return f"{self.server.url}?db=1"

    async def measure(self, measures: Mapping[str, Measure]) -> dict[str, Side]:
        """Measure each side once a round."""
        return await in_turn(self.rounds, measures, lambda told: self.console.print(f"  {told}", highlight=False))

    def bare(self, queue: Queue, jobs: int, processes: int = 2, max_jobs: int = 50, wait_ms: int = 0) -> BareJobs:
        """Jobs that do nothing, or wait."""
        options = ("--wait-ms", str(wait_ms)) if wait_ms else ()
        return BareJobs(self.url, self.home, queue, jobs, processes, max_jobs, options)

    def site(self, name: str, copies: int = 1, kind: type[Site] = Site) -> Site:
        """A system under a prefix of its own."""
        return kind(self.server, self.home / name, self.data, copies, prefix=name)


async def no_ops(bench: Bench) -> list[Row]:
    """Jobs that do nothing."""
    measures: dict[str, Measure] = {"engine": bench.bare(ENGINE, NO_OPS), "stock arq": bench.bare(STOCK, NO_OPS)}
    missing = Side("ArdiQ")
    try:
        measures["ArdiQ"] = bench.bare(ardiq(peer_python("ardiq", "3.12", "ardiq==1.2.*")), NO_OPS)
    except NoEnvironmentError as error:
        bench.console.print(f"  ArdiQ is not measured: {error}", highlight=False)
    sides = await bench.measure(measures)
    engine, figure = sides["engine"], "jobs/s"
    return [
        times_faster(
            "no-op jobs per second, two worker processes, engine / stock",
            engine,
            sides["stock arq"],
            figure,
            figure,
            10,
        ),
        times_faster("the same, engine / ArdiQ", engine, sides.get("ArdiQ", missing), figure, figure, 1.2),
    ]


async def waiting(bench: Bench) -> list[Row]:
    """Jobs that wait, on two processes and on one."""
    one = "one worker process"
    measures = {
        "two": bench.bare(ENGINE, WAITING, processes=2, max_jobs=10, wait_ms=20),
        one: bench.bare(ENGINE, WAITING, processes=1, max_jobs=10, wait_ms=20),
    }
    sides = await bench.measure(measures)
    what = "no-op jobs per second, two worker processes / one, when each job waits 20 ms and `max_jobs` is 10"
    return [times_faster(what, sides["two"], sides[one], "jobs/s", "jobs/s", 1.9)]


async def whole_flows(bench: Bench) -> list[Row]:
    """Whole jobs of one user each."""
    engine, stock = bench.site("flows-engine"), bench.site("flows-stock", kind=StockSite)
    sides = await bench.measure({"engine": lambda: flows(engine), "stock arq": lambda: flows(stock)})
    what = (
        "whole one-user flows per second with 4 chunks each, engine / the same tasks on stock "
        "(a prototype without the fused round trips: 2.8)"
    )
    return [times_faster(what, sides["engine"], sides["stock arq"], "flows/s", "flows/s", 3.5)]


async def idle_clicks(bench: Bench) -> list[Row]:
    """Clicks with nothing beside them."""
    site = bench.site("clicks")
    sides = await bench.measure({"engine": lambda: clicks(site, CLICKS)})
    return _latency_rows("click to cached, idle, real MovieLens model, 4 chunks", sides["engine"], 6, 15)


async def busy_clicks(bench: Bench) -> list[Row]:
    """Clicks with a run beside them."""
    site = bench.site("clicks-in-a-run", COPIES)
    sides = await bench.measure({"engine": lambda: clicks_beside_a_run(site)})
    what = "the same while a batch of 100,000 users runs (the MovieLens users repeated)"
    return _latency_rows(what, sides["engine"], 15, 40)


def _latency_rows(what: str, side: Side, median_ms: float, percentile_ms: float) -> list[Row]:
    targets = {"median": median_ms, "99th percentile": percentile_ms}
    return [at_most(f"{what}: {figure}", side, figure, "ms", target) for figure, target in targets.items()]


async def killed(bench: Bench) -> list[Row]:
    """A job whose worker is killed."""
    sides = await bench.measure({"engine": Takeover(bench.url, bench.home, ENGINE)})
    return [at_most("SIGKILL of a worker to its job done elsewhere, 3 s lease", sides["engine"], "s", "s", 4)]


async def idle_workers(bench: Bench) -> list[Row]:
    """Workers without work."""
    site = bench.site("idle")
    sides = await bench.measure({"engine": lambda: idle(site, IDLE_S)})
    return [at_most("CPU of an idle worker", sides["engine"], "% of a core", "%", 0.3)]


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "no-op": no_ops,
    "waiting": waiting,
    "flows": whole_flows,
    "click": idle_clicks,
    "click-in-run": busy_clicks,
    "kill": killed,
    "idle": idle_workers,
}


def main() -> int:
    """Measure, print the table, and keep it unless only a part was measured; 1 when a target is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=GROUPS, help="one group of rows, which is printed and not kept")
    options = parser.parse_args()
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    rows = asyncio.run(_measure([options.only] if options.only else list(GROUPS), options.rounds, console))
    report = Report(machine(f"Valkey {server_version()}"), rows)
    report.show(console, f"Queue, medians of {options.rounds} rounds")
    if not options.only:
        report.write(RESULTS)
    return 0 if all(row.met for row in rows) else 1


async def _measure(groups: list[str], rounds: int, console: Console) -> list[Row]:
    found: list[Row] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, start_server(Path(scratch)) as server:
        bench = Bench(server, Path(scratch), read_movielens(Path(scratch)), rounds, console)
        for group in groups:
            console.print(group)
            found += await GROUPS[group](bench)
    return found
