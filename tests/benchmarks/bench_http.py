"""`make bench-http`: reads over HTTP, next to a bare Starlette handler with one Redis GET or MGET.

wrk's load, 32 connections, on one process of `reckoner serve` and on one of the bare app, one after the other in each
round; server, app and load share the machine. The bare handler returns the cached bytes; `serve` returns places with
titles, without what the user has had since and what is hidden, and an ETag.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tests.benchmarks.bench_fresh import one
from tests.benchmarks.bench_queue import Bench, run
from tests.benchmarks.frame import Row, at_most_times, times_faster
from tests.benchmarks.http_reads import BARE, CONNECTIONS, OURS, HttpReads

RESULTS = Path(__file__).absolute().parent / "results" / "http.json"
AT_ONCE = 50


async def hits(bench: Bench) -> list[Row]:
    """One user's cached list."""
    return await _rows(bench, {"one user": (HttpReads(bench.home), 0.7, 1.5)})


async def many(bench: Bench) -> list[Row]:
    """The cached lists of many users in one POST."""
    return await _rows(bench, {f"{AT_ONCE} users in a POST": (HttpReads(bench.home, AT_ONCE), 0.3, 3.5)})


async def filters(bench: Bench) -> list[Row]:
    """One user's cached list with a filter."""
    by_tag, by_item = HttpReads(bench.home, query="?only=even"), HttpReads(bench.home, query="?exclude=00007")
    return await _rows(
        bench, {"one user, by a tag": (by_tag, 0.5, 2.0), "one user, without an item": (by_item, 0.5, 2.0)}
    )


async def _rows(bench: Bench, measures: Mapping[str, tuple[HttpReads, float, float]]) -> list[Row]:
    sides = await bench.measure({name: reads for name, (reads, _, _) in measures.items()})
    rows = []
    for name, side in sides.items():
        _, rate, latency = measures[name]
        mine, bare = one(side, OURS, f"{OURS}: requests/s"), one(side, BARE, f"{BARE}: requests/s")
        what = f"requests per second for {name}, {CONNECTIONS} connections, compared with a bare handler"
        rows.append(times_faster(what, mine, bare, "it", "requests/s", rate))
        slow, bare = one(side, OURS, f"{OURS}: 99th percentile"), one(side, BARE, f"{BARE}: 99th percentile")
        rows.append(at_most_times(f"the same: 99th percentile, {name}", slow, bare, "it", "ms", latency))
    return rows


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {"hits": hits, "many": many, "filters": filters}


def main() -> int:
    """Measure; 1 if a target is missed."""
    return run(GROUPS, "Reads over HTTP", RESULTS, __doc__)
