"""`make bench-kernels`: building a model and scoring all users, next to implicit, similaripy and sparse_dot_topn.

All sides get the same matrix, K = 100, N = 10 and two threads. Preparation counts, from the snapshot's arrays to lists.
Each call runs in its own process (`kernel_calls`), each side once a round. It has a speed only if its answer equals a
scipy product (`sampled_truth`). Worker processes are measured as a whole (`kernel_fits`).
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.console import Console

from reckoner.producer.trial.synthesis import LIKE, Size
from reckoner.shared.redis.embedded import EmbeddedServer
from tests.benchmarks.environments import NoEnvironmentError, installed, peer_python
from tests.benchmarks.frame import Measure, Report, Row, Side, at_most, at_most_times, in_turn, machine, times_sooner
from tests.benchmarks.kernel_calls import Call
from tests.benchmarks.kernel_data import Data, RandomPairs, What
from tests.benchmarks.kernel_fits import Fit
from tests.benchmarks.night_data import SHAPES, Tails
from tests.benchmarks.pictures import Chart, draw
from tests.servers import start_server

RESULTS = Path(__file__).absolute().parent / "results" / "kernels.json"
KEPT = "ml-20m"
OURS, WITH_REASONS, ALONE, SCIPY = "ours", "ours, with reasons", "implicit, one process", "scipy"
SLIM_SIDE, COSINE_SIDE, EASE, IRSPACK = "slim", "cosine", "EASE", "irspack"
# A peer's program and requirement.
PEERS: Mapping[str, tuple[str, str]] = {
    "implicit": ("call_implicit", "implicit==0.7.*"),
    "similaripy": ("call_similaripy", "similaripy==0.7.*"),
    "sparse_dot_topn": ("call_sparse_dot_topn", "sparse_dot_topn==1.2.*"),
    "irspack": ("call_irspack", "irspack==0.5.*"),
}
TRUTHS: Mapping[str, What] = {"build": "cosine", "build-bm25": "bm25", "build-slim": "slim", "build-slim-rows": "any"}
# A shop's views, still more items, and 500,000 random pairs.
SPARSE: tuple[Tails | RandomPairs, ...] = (
    SHAPES[KEPT].sparse,
    SHAPES[KEPT].wide,
    *(RandomPairs(users=50_000, items=items, interactions=500_000) for items in (12_500, 50_000, 183_496)),
)
# Where slim is compared with cosine: so many bytes, and so many items that share few users.
SLIM_GB, SLIM_SPARSE_GB = 1.2, 1.5
SLIM_PAIRS = RandomPairs(users=50_000, items=200_000, interactions=500_000)
# The setting for the row with less memory.
LESS_MEMORY: Mapping[str, object] = {"tile_mb": 40}

BUILD_IMPLICIT = "build the cosine model, compared with implicit 0.7"
BUILD_OTHERS = "build the cosine model, compared with similaripy 0.7 and sparse_dot_topn 1.2"
# `num_threads` does nothing in `recommend`: two forked processes are the fair form on two cores.
SCORE_IMPLICIT = "score all users, compared with implicit's batched `recommend` in two forked processes"
SCORE_OTHERS = "score all users, compared with similaripy and sparse_dot_topn (which keeps the history)"
REASONS = "score all users with reasons, compared with none"
BUILD_SPARSE = "build the cosine model of a sparse catalogue, from arrays to lists"
BUILD_BM25 = "build the BM25 model, compared with implicit's BM25"
SLIM = "build the model of kind slim, compared with cosine"
SLIM_OTHERS = "build the model of kind slim, like ml-1m, compared with EASE by numpy and irspack's SLIM"
SLIM_SCORE = "score all users with slim, compared with cosine"
PROCESSES = "build a model with two worker processes, compared with one"
MEMORY = "peak memory of all processes, shared pages counted once"
DOUBLED = "build time with twice the users: growth"


@dataclass
class Bench:
    """The state that all groups share, their charts, and the peers' versions."""

    server: EmbeddedServer
    home: Path
    size: Size
    rounds: int
    console: Console
    charts: list[Chart] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def tell(self, told: str) -> None:
        """Print a line."""
        self.console.print(f"  {told}", highlight=False)

    @cached_property
    def data(self) -> Data:
        """The interactions."""
        return Data(self.home / "data", self.size)

    @cached_property
    def doubled(self) -> Data:
        """The same with each user twice."""
        return Data(self.home / "doubled", self.size, copies=2)

    @cached_property
    def pythons(self) -> Mapping[str, Path]:
        """The peers that can be installed, each with its Python."""
        found = {}
        for name, (_, requirement) in PEERS.items():
            try:
                found[name] = peer_python(name, "3.11", requirement)
                self.versions.append(installed(found[name], name))
            except NoEnvironmentError as error:
                self.tell(f"{name} is not measured: {error}")
        return found

    def ours(self, task: str, data: Data | None = None) -> Call:
        """A call of our kernels."""
        truth = TRUTHS.get(task, "scores")
        return Call(Path(sys.executable), "call_ours", task, data or self.data, truth, means=truth == "scores")

    def peers(self, task: str, *names: str, data: Data | None = None) -> dict[str, Measure]:
        """The same call of the installed peers."""
        return {name: self._peer(name, task, data or self.data) for name in names if name in self.pythons}

    def _peer(self, name: str, task: str, data: Data) -> Call:
        truth = TRUTHS.get(task, "scores")
        if (name, truth) == ("sparse_dot_topn", "scores"):
            truth = "scores of all"
        return Call(self.pythons[name], PEERS[name][0], task, data, truth, holds_itself=truth in TRUTHS.values())

    def fit(self, processes: int, *, memory: bool = False, **settings: object) -> Fit:
        """A fit by worker processes."""
        return Fit(self.server, self.home, self.data, processes, memory, settings)

    async def measure(self, title: str, measures: Mapping[str, Measure]) -> dict[str, Side]:
        """Measure each side once a round; a failed side has no figures."""
        sides = await in_turn(self.rounds, measures, self.tell)
        ours = [name for name in measures if name not in (*PEERS, ALONE, SCIPY, EASE)]
        self.charts.append(Chart(title, "seconds", {name: side.values("s") for name, side in sides.items()}, ours))
        return {name: Side(name) for name in (*PEERS, ALONE, SCIPY, EASE)} | sides


async def build(bench: Bench) -> list[Row]:
    """The cosines of all pairs of items."""
    sides = await bench.measure("build, cosine", {OURS: bench.ours("build"), **bench.peers("build", *PEERS)})
    others = [_sooner(BUILD_OTHERS, sides, peer, 2.2) for peer in ("similaripy", "sparse_dot_topn")]
    return [_sooner(BUILD_IMPLICIT, sides, "implicit", 3.5), *others]


async def build_sparse(bench: Bench) -> list[Row]:
    """The cosines of items that share users with few others."""
    rows = []
    for number, shape in enumerate(SPARSE):
        data = Data(bench.home / f"sparse-{number}", shape)
        scipy = Call(Path(sys.executable), "call_scipy", "build", data, "cosine", holds_itself=True)
        peers: dict[str, Measure] = {SCIPY: scipy, **bench.peers("build", *PEERS, data=data)}
        title = f"build, cosine, {shape.items:,} items"
        sides = await bench.measure(title, {OURS: bench.ours("build", data), **peers})
        what = f"{BUILD_SPARSE}: {shape.items:,} items, {data.arrays.user_items.size:,} interactions"
        rows += [_sooner(what, sides, peer, 3 if peer == "implicit" else 1) for peer in (SCIPY, *PEERS)]
    return rows


async def build_bm25(bench: Bench) -> list[Row]:
    """The same with weights that are not counts."""
    peers = bench.peers("build-bm25", "implicit")
    sides = await bench.measure("build, BM25", {OURS: bench.ours("build-bm25"), **peers})
    return [_sooner(BUILD_BM25, sides, "implicit", 2.6)]


async def build_slim(bench: Bench) -> list[Row]:
    """Slim beside cosine, dense and sparse, and beside others' regressions."""
    rows = []
    shapes = {"dense": bench.data, "shop": Data(bench.home / "slim-shop", SHAPES[KEPT].sparse)}
    shapes |= {"pairs": Data(bench.home / "slim-pairs", SLIM_PAIRS)}
    for name, data in shapes.items():
        measures: dict[str, Measure] = {
            SLIM_SIDE: bench.ours("build-slim", data),
            COSINE_SIDE: bench.ours("build", data),
        }
        sides = await bench.measure(f"build, slim and cosine: {name}", measures)
        what = f"{SLIM}: {data.arrays.shape[1]:,} items, {data.arrays.user_items.size:,} interactions"
        rows.append(at_most_times(what, sides[SLIM_SIDE], sides[COSINE_SIDE], "s", "s", 8))
        most = SLIM_GB if name == "dense" else SLIM_SPARSE_GB
        rows.append(at_most(f"{what}: memory of the process", sides[SLIM_SIDE], "GB", "GB", most))
    small = Data(bench.home / "slim-small", LIKE["ml-1m"])
    ease = Call(Path(sys.executable), "call_ease", "build-slim", small, "ease", blas_threads=2)
    others: dict[str, Measure] = {EASE: ease}
    if "irspack" in bench.pythons:
        others[IRSPACK] = Call(bench.pythons["irspack"], "call_irspack", "build-slim", small, "any")
    sides = await bench.measure("build, regressions", {OURS: bench.ours("build-slim", small), **others})
    rows += [_sooner(SLIM_OTHERS, sides, peer, 4) for peer in (EASE, IRSPACK)]
    models = {
        SLIM_SIDE: ("build-slim-rows", bench.data.with_other_model("slim")),
        COSINE_SIDE: ("build", bench.data.with_other_model("cosine")),
    }
    scores: dict[str, Measure] = {}
    for side, (task, data) in models.items():
        ptr, items, values = await bench.ours(task).whole(bench.size.items)
        data.keep_model({"row_ptr": ptr, "row_items": items, "row_values": values})
        scores[side] = bench.ours("score", data)
    sides = await bench.measure("score all users, slim and cosine", scores)
    return [*rows, at_most_times(SLIM_SCORE, sides[SLIM_SIDE], sides[COSINE_SIDE], "s", "s", 2)]


async def score(bench: Bench) -> list[Row]:
    """All users' lists, with the model of our build."""
    if not bench.data.model.exists():
        ptr, items, values = await bench.ours("build").whole(bench.size.items)
        bench.data.keep_model({"row_ptr": ptr, "row_items": items, "row_values": values})
    ours = {OURS: bench.ours("score"), WITH_REASONS: bench.ours("score-reasons")}
    alone = dict(zip([ALONE], bench.peers("score-alone", "implicit").values(), strict=False))
    sides = await bench.measure("score all users", {**ours, **bench.peers("score", *PEERS), **alone})
    return [
        _sooner(SCORE_IMPLICIT, sides, "implicit", 7.5),
        _sooner(SCORE_IMPLICIT, sides, ALONE, 7.5),
        _sooner(SCORE_OTHERS, sides, "similaripy", 6),
        _sooner(SCORE_OTHERS, sides, "sparse_dot_topn", 2.6),
        at_most_times(REASONS, sides[WITH_REASONS], sides[OURS], "s", "s", 1.15),
    ]


async def processes(bench: Bench) -> list[Row]:
    """Fits by one worker process and by two."""
    one, two = "one worker process", "two worker processes"
    measures = {two: bench.fit(2), one: bench.fit(1)}
    sides = await bench.measure("fit on workers", measures)
    return [times_sooner(PROCESSES, sides[two], sides[one], "s", "s", 1.85)]


async def memory(bench: Bench) -> list[Row]:
    """Fits by two worker processes, with default settings and with less memory."""
    less = ", ".join(f"{name}={value}" for name, value in LESS_MEMORY.items())
    measures = {"as it comes": bench.fit(2, memory=True), less: bench.fit(2, memory=True, **LESS_MEMORY)}
    sides = await bench.measure("fit on two workers", measures)
    usual, lesser = sides["as it comes"], sides[less]
    return [
        at_most(MEMORY, usual, "GB", "GB", 1.8),
        at_most(f"{MEMORY}: with {less}", lesser, "GB", "GB", 1.0),
        at_most_times(f"{MEMORY}: time with {less}", lesser, usual, "s", "s", 1.3),
    ]


async def doubled(bench: Bench) -> list[Row]:
    """The build of twice as many users' interactions."""
    once, twice = f"{bench.size.users:,} users", f"{2 * bench.size.users:,} users"
    measures = {twice: bench.ours("build", bench.doubled), once: bench.ours("build")}
    sides = await bench.measure("build, of more users", measures)
    return [at_most_times(DOUBLED, sides[twice], sides[once], "s", "s", 2.1)]


def _sooner(what: str, sides: Mapping[str, Side], peer: str, target: float) -> Row:
    return times_sooner(what, sides[OURS], sides[peer], "s", "s", target)


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "build": build,
    "sparse": build_sparse,
    "bm25": build_bm25,
    "slim": build_slim,
    "score": score,
    "processes": processes,
    "memory": memory,
    "doubled": doubled,
}


def main() -> int:
    """Measure, print the table, and keep it unless only a part was measured; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--like", choices=LIKE, default=KEPT, help="other data than the default are not kept")
    parser.add_argument("--only", choices=GROUPS, help="one group of rows, which is printed and not kept")
    options = parser.parse_args()
    console = Console(width=140) if not sys.stdout.isatty() else Console()
    groups = [options.only] if options.only else list(GROUPS)
    report, charts = asyncio.run(_measure(groups, options.like, options.rounds, console))
    report.show(console, f"Kernels, medians of {options.rounds} rounds")
    if groups == list(GROUPS) and options.like == KEPT:
        report.write(RESULTS)
        try:
            draw(charts, report.machine, RESULTS.with_suffix(".svg"))
        except NoEnvironmentError as error:
            console.print(f"There is no new picture: {error}", highlight=False)
    return 0 if all(row.met for row in report.rows) else 1


async def _measure(groups: list[str], like: str, rounds: int, console: Console) -> tuple[Report, list[Chart]]:
    found: list[Row] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, start_server(Path(scratch)) as server:
        bench = Bench(server, Path(scratch), LIKE[like], rounds, console)
        for group in groups:
            console.print(group)
            found += await GROUPS[group](bench)
    return Report(machine(f"synthetic data like {like}", *bench.versions), found), bench.charts
