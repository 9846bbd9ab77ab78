"""`make bench-fresh`: recorded events, lists that have them, reads that leave out what must not be shown, and exports.

Each side is measured once a round, beside a bare counterpart in the same measurement: XADDs of the same bytes at once,
a click, asynchronous MGETs of the same values by redis-py with the same decoding, pipelined MGETs. The
server is the embedded one.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import get_args

from reckoner.producer.exporting.formats import Format
from tests.benchmarks.bench_queue import COPIES, Bench, run
from tests.benchmarks.frame import Row, Side, at_most, at_most_times, times_faster
from tests.benchmarks.fresh_events import BARE, EVENTS, RATE, REMEMBERED, Events, freshness, memory
from tests.benchmarks.fresh_exports import BARE as BARE_LISTS
from tests.benchmarks.fresh_exports import EXPORT, Exports
from tests.benchmarks.fresh_reads import AT_ONCE, CALLERS, Reads

RESULTS = Path(__file__).absolute().parent / "results" / "fresh.json"
CLICKS = 200


async def events(bench: Bench) -> list[Row]:
    """Events a second."""
    idle, busy = Events(bench.site("events")), Events(bench.site("events-in-a-run", COPIES), in_run=True)
    sides = await bench.measure({"idle": idle, "beside a run": busy})
    return [
        times_faster(
            f"events per second, {EVENTS:,} a call, {name}, compared with bare pipelined XADDs",
            one(side, "record_many", RATE),
            one(side, "bare XADDs", BARE),
            "it",
            "events/s",
            0.25,
        )
        for name, side in sides.items()
    ]


async def lists(bench: Bench) -> list[Row]:
    """From an event to the list."""
    idle, busy = bench.site("fresh"), bench.site("fresh-in-a-run", COPIES)
    sides = await bench.measure({
        "idle": lambda: freshness(idle, CLICKS), "beside a run": lambda: freshness(busy, CLICKS, in_run=True),
    })  # fmt: skip
    rows = []
    for name, side in sides.items():
        for figure, target in (("median", 1.5), ("99th percentile", 2.0)):
            what = f"from an event to the cached list, {name}: {figure}, compared with a click"
            event, click = one(side, "an event", f"event: {figure}"), one(side, "a click", f"click: {figure}")
            rows.append(at_most_times(what, event, click, "it", "ms", target))
    return rows


async def reads(bench: Bench) -> list[Row]:
    """Reads by concurrent callers."""
    measures = {
        "one user": Reads(bench.home, 1),
        "one user, some left out": Reads(bench.home, 1, some_out=True),
        "one user, by a tag": Reads(bench.home, 1, by_tag=True),
        f"{AT_ONCE} users": Reads(bench.home, AT_ONCE),
        f"{AT_ONCE} users, some left out": Reads(bench.home, AT_ONCE, some_out=True),
        f"{AT_ONCE} users, by a tag": Reads(bench.home, AT_ONCE, by_tag=True),
    }
    sides = await bench.measure(measures)
    rows = []
    for name, side in sides.items():
        target = 0.4 if name.startswith("one") else 0.7
        what = f"reads of {name} per second by {CALLERS} callers, compared with a bare MGET"
        mine, bare = one(side, "get", "client: requests/s"), one(side, "bare MGET", "bare: requests/s")
        rows.append(times_faster(what, mine, bare, "it", "requests/s", target))
        slow, bare = one(side, "get", "client: 99th percentile"), one(side, "bare MGET", "bare: 99th percentile")
        rows.append(at_most_times(f"the same: 99th percentile, {name}", slow, bare, "it", "ms", 1 / target))
    return rows


async def exports(bench: Bench) -> list[Row]:
    """Exports of a generation."""
    sides = await bench.measure({kind: Exports(bench.home, kind) for kind in get_args(Format)})
    return [
        times_faster(
            f"lists exported per second, with titles, as {kind}, compared with bare pipelined MGETs, decoded",
            one(side, "export", EXPORT),
            one(side, "bare MGETs", BARE_LISTS),
            "it",
            "lists/s",
            0.3,
        )
        for kind, side in sides.items()
    ]


async def remembered(bench: Bench) -> list[Row]:
    """The memory of a recent history."""
    site = bench.site("memory")
    sides = await bench.measure({"a recent history": lambda: memory(site)})
    what = f"memory in Redis of a user with {REMEMBERED} recent events, beside the stream"
    return [at_most(what, sides["a recent history"], "bytes", "bytes", 1500)]


def one(side: Side, name: str, figure: str) -> Side:
    """One figure of a side as a side of its own."""
    other = Side(name, side.trouble)
    for value in side.values(figure):
        other.add({"it": value})
    return other


GROUPS: Mapping[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "events": events,
    "lists": lists,
    "reads": reads,
    "exports": exports,
    "memory": remembered,
}


def main() -> int:
    """Measure; 1 if a target is missed."""
    return run(GROUPS, "Events and reads", RESULTS, __doc__)
