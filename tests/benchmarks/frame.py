"""The frame of every benchmark: interleaved rounds, medians and ratios, a table, and the kept JSON.

All sides are measured in one run, each once a round, so that a slow phase of the machine affects all. A figure is the
median of its side's rounds. A side with a wrong answer in any round has no figures.
"""

import math
import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

Figures = Mapping[str, float]
Measure = Callable[[], Awaitable[Figures]]

BYTES_PER_GB = 1e9


class WrongAnswerError(Exception):
    """A side's answer is wrong."""


class Side:
    """A measured side: its figures by name, a value for each round, or its trouble."""

    def __init__(self, name: str, trouble: str = "") -> None:
        self.name = name
        self.trouble = trouble
        self._values: dict[str, list[float]] = {}

    def add(self, figures: Figures) -> None:
        """The figures of one more round."""
        for figure, value in figures.items():
            self._values.setdefault(figure, []).append(value)

    def values(self, figure: str) -> list[float]:
        """A figure of each round; empty when the side has none."""
        return [] if self.trouble else self._values.get(figure, [])

    def median(self, figure: str) -> float | None:
        """The median of a figure's rounds, None when the side has none."""
        values = self.values(figure)
        return statistics.median(values) if values else None


async def in_turn(rounds: int, measures: Mapping[str, Measure], tell: Callable[[str], None]) -> dict[str, Side]:
    """Measure every side once a round. A side with a wrong answer is reported and dropped."""
    sides = {name: Side(name) for name in measures}
    for number in range(1, rounds + 1):
        for name, measure in measures.items():
            side = sides[name]
            if side.trouble:
                continue
            try:
                figures = await measure()
            except WrongAnswerError as error:
                side.trouble = f"round {number}: {error}"
                tell(f"{name}, {side.trouble}")
                continue
            side.add(figures)
            tell(f"{name}, round {number}: " + ", ".join(f"{figure} {value:,.4g}" for figure, value in figures.items()))
    return sides


def latencies(waited_ms: Sequence[float]) -> Figures:
    """The median and the 99th percentile, by nearest rank."""
    return {
        "median": statistics.median(waited_ms),
        "99th percentile": sorted(waited_ms)[math.ceil(len(waited_ms) * 0.99) - 1],
    }


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a benchmark's table; missing values are None."""

    what: str
    value: float | None
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    """Of the value to the peer's; of a time that is to be the shorter one, of the peer's to the value."""
    target: str
    met: bool
    trouble: str = ""
    """Why a value is missing."""


def at_least(what: str, side: Side, figure: str, unit: str, target: float) -> Row:
    """A row whose value must not fall below its target."""
    value = side.median(figure)
    met = value is not None and value >= target
    return Row(what=what, value=value, unit=unit, target=f"at least {target:g} {unit}", met=met, trouble=side.trouble)


def at_most(what: str, side: Side, figure: str, unit: str, target: float) -> Row:
    """A row whose value must not exceed its target."""
    value = side.median(figure)
    return Row(
        what=what,
        value=value,
        unit=unit,
        target=f"at most {target:g} {unit}",
        met=value is not None and value <= target,
        trouble=side.trouble,
    )


def times_faster(what: str, side: Side, peer: Side, figure: str, unit: str, target: float) -> Row:
    """A row whose value, a speed, must be at least this multiple of the peer's."""
    ratio = _ratio(side.median(figure), peer.median(figure))
    met = ratio is not None and ratio >= target
    return _compared(what, side, peer, figure, unit, ratio, f"at least {target:g} times", met)


def times_sooner(what: str, side: Side, peer: Side, figure: str, unit: str, target: float) -> Row:
    """A row whose value, a time, must be at most the peer's divided by the target."""
    ratio = _ratio(peer.median(figure), side.median(figure))
    met = ratio is not None and ratio >= target
    return _compared(what, side, peer, figure, unit, ratio, f"at least {target:g} times faster", met)


def at_most_times(what: str, side: Side, peer: Side, figure: str, unit: str, target: float) -> Row:
    """A row whose value must be at most this multiple of the peer's."""
    ratio = _ratio(side.median(figure), peer.median(figure))
    met = ratio is not None and ratio <= target
    return _compared(what, side, peer, figure, unit, ratio, f"at most {target:g} times", met)


def _ratio(value: float | None, other: float | None) -> float | None:
    return value / other if value is not None and other else None


def _compared(
    what: str, side: Side, peer: Side, figure: str, unit: str, ratio: float | None, target: str, met: bool
) -> Row:
    value, other = side.median(figure), peer.median(figure)
    return Row(
        what=what,
        value=value,
        unit=unit,
        peer=peer.name,
        peer_value=other,
        ratio=ratio,
        target=target,
        met=met,
        trouble="; ".join(f"{it.name}: {it.trouble}" for it in (side, peer) if it.trouble),
    )


class Report(msgspec.Struct, frozen=True):
    """The results of a benchmark, as kept in `results/`."""

    machine: str
    rows: list[Row]

    def write(self, path: Path) -> None:
        """Write it as diffable JSON."""
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    def show(self, console: Console, title: str) -> None:
        """Print it as a table."""
        table = Table(title=title, caption=self.machine, title_justify="left", caption_justify="left")
        table.add_column("what", ratio=1)
        for heading in ("value", "peer", "its value", "ratio", "target", "met"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(
                row.what,
                _with_unit(row.value, row.unit),
                row.peer or "",
                _with_unit(row.peer_value, row.unit) if row.peer else "",
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                row.target,
                "yes" if row.met else "NO",
            )
        console.print(table)
        for row in self.rows:
            if row.trouble:
                console.print(f"{row.what}: {row.trouble}", highlight=False)


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def machine(*besides: str) -> str:
    """A description of this machine and of other parts, such as a server and its version."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / BYTES_PER_GB
    parts = [f"{_processor()}, {cores} cores, {memory:.0f} GB", f"{platform.system()} {platform.release()}"]
    return "; ".join([*parts, f"Python {platform.python_version()}", *besides])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
