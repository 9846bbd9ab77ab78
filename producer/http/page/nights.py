"""Nights: how do they end, and how far is the one under way?"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.http.routes import Nothing
from reckoner.producer.sentences import VERDICTS, figure_facts
from reckoner.shared.errors import FlowUnknownError
from reckoner.shared.flows.nights import STAGES
from reckoner.shared.flows.run_state import Figures, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reckoner.producer.client.status import RunNow, Status
    from reckoner.producer.http.calls import Call
    from reckoner.shared.flows.nights import Night, Stage
    from reckoner.shared.serving.history import Entry
    from reckoner.shared.settings import Settings

SHOWN = 60


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the history."""

    id: str


@dataclass(frozen=True)
class StageNow:
    """A stage of the night under way: what it does, how much is done of how much, and how long it may take."""

    name: str
    stage: "Stage | None"
    unit: str = ""
    done: int = 0
    total: int | None = None
    left_ms: float | None = None


@dataclass(frozen=True)
class Gate:
    """A figure of the gate, next to the live lists', and its limit; all as text."""

    name: str
    value: str
    before: str
    limit: str
    is_beyond: bool


async def gather(call: "Call", _: Nothing, __: Seen) -> dict[str, Any]:
    """The night under way, runs, and how the last ones ended."""
    operator = call.reckoner.operator
    now = await operator.status(timeout=call.left_s)
    nights = await operator.entries(SHOWN, "night", timeout=call.left_s)
    entries = _but_parts(await operator.entries(5 * SHOWN, timeout=call.left_s), nights)[:SHOWN]
    of_nights = {stage.job for stage in (now.night.stages.values() if now.night else ())}
    return {
        "status": now,
        "stages": await _stages(call, now.night, now) if now.night else [],
        "runs": [run for run in now.runs if run.run.id not in of_nights],
        "left_ms": left_ms,
        "entries": entries,
        "series": series(nights or [entry for entry in entries if entry.kind == "run"]),
        "users_of": users_of,
        "churn_of": churn_of,
        "held": [name for name in now.holdings if name not in now.records],
    }


def _but_parts(entries: "Sequence[Entry]", nights: "Sequence[Entry]") -> "list[Entry]":
    """The entries without the runs and fits of nights, and without what other screens show."""
    ids = {night.id for night in nights} | {stage.get("job", "") for night in nights for stage in night.stages}
    return [
        entry
        for entry in entries
        if entry.kind == "night"
        or (entry.kind not in ("import", "evaluation") and entry.id not in ids and entry.starter not in ids)
    ]


async def _stages(call: "Call", night: "Night", now: "Status") -> list[StageNow]:
    return [await _stage(call, name, night.stages.get(name), now) for name in STAGES]


async def _stage(call: "Call", name: str, stage: "Stage | None", now: "Status") -> StageNow:
    """The progress of a stage that runs; the others have ended or not begun."""
    if stage is None or stage.outcome is not None:
        return StageNow(name, stage)
    with suppress(FlowUnknownError):
        match name:
            case "import":
                return StageNow(name, stage, "rows", stage.progress)
            case "fit" if stage.job:
                report = await call.reckoner.job(stage.job, timeout=call.left_s)
                left = _left(now.now_ms - stage.started_ms, report.tasks_done, report.flow.tasks)
                return StageNow(name, stage, "chunk tasks", report.tasks_done, report.flow.tasks or None, left)
            case "everybody" if stage.job:
                run = next((run for run in now.runs if run.run.id == stage.job), None)
                if run is not None:
                    return StageNow(name, stage, "users", run.users_done, run.run.users, left_ms(run))
    return StageNow(name, stage)


def left_ms(run: "RunNow") -> float | None:
    """How long a run takes from now on, at its speed until now."""
    return _left(run.age_ms, run.users_done, run.run.users)


def _left(took_ms: float, done: int, total: int) -> float | None:
    return took_ms / done * (total - done) if done > 0 else None


def manifest_of(entry: "Entry") -> Manifest | None:
    """The manifest in an entry; None if it has none, or another release kept other figures."""
    with suppress(msgspec.ValidationError):
        return msgspec.convert(entry.figures, Manifest) if entry.figures else None
    return None


def users_of(entry: "Entry") -> int | None:
    """The number of users of an entry's run."""
    manifest = manifest_of(entry)
    return manifest.users if manifest else None


def churn_of(entry: "Entry") -> float | None:
    """The share of new places of an entry's run."""
    manifest = manifest_of(entry)
    return manifest.figures.churn if manifest and manifest.figures else None


def series(entries: "Sequence[Entry]") -> dict[str, list[float | None]]:
    """Figures of the last nights, the oldest first; None where a night has none."""
    manifests = [manifest_of(entry) for entry in reversed(entries)]
    figures = [manifest.figures if manifest else None for manifest in manifests]
    return {
        "users per second": [manifest.users_per_second if manifest else None for manifest in manifests],
        "churn": [each.churn if each else None for each in figures],
        "different items": [each.coverage if each else None for each in figures],
        "duration": [entry.took_s for entry in reversed(entries)],
    }


async def gather_entry(call: "Call", asked: Asked, _: Seen) -> dict[str, Any]:
    """One night, run or fit with its figures."""
    entry = await call.reckoner.operator.entry(asked.id, timeout=call.left_s)
    now = await call.reckoner.operator.status(timeout=call.left_s)
    manifest = manifest_of(entry)
    return {
        "entry": entry,
        "manifest": manifest,
        "gates": gates(manifest.figures, call.server.config.settings) if manifest and manifest.figures else [],
        "facts": [fact for fact in figure_facts(entry.figures) if isinstance(entry.figures.get("figures"), type(None))],
        "verdict": VERDICTS.get(entry.outcome, ""),
        "can_promote": entry.generation in now.holdings and entry.generation != now.generation,
        "is_live": bool(entry.generation) and entry.generation == now.generation,
        "path": "/nights",
    }


def gates(figures: Figures, settings: "Settings") -> list[Gate]:
    """The figures of the gate as a table; a limit is of the settings now."""

    def share(name: str, value: float | None, most: float, before: float | None = None) -> Gate | None:
        """A share next to the most that it may be."""
        if value is None:
            return None
        return Gate(name, f"{value:.1%}", _share(before), f"at most {min(most, 1):.1%}", value > most)

    def beyond(before: float | None, more: float) -> float:
        return more if before is None else before + more

    empty, concentration = figures.empty_before, figures.concentration_before
    rows = [
        share("Users lost", figures.users_lost, settings.gate_users_lost),
        share("Users who would get the popular list", figures.popular, settings.gate_popular),
        share("Churn: places with a new item", figures.churn, settings.gate_churn),
        share("Empty lists", figures.empty, beyond(empty, settings.gate_empty), empty),
        share(
            "Places with one of the ten most frequent items",
            figures.concentration,
            beyond(concentration, settings.gate_concentration),
            concentration,
        ),
    ]
    if figures.coverage is not None and (before := figures.coverage_before) is not None:
        least = before * settings.gate_coverage
        found = figures.coverage
        rows.append(Gate("Different items", f"{found:,}", f"{before:,}", f"at least {least:,.0f}", found < least))
    return [row for row in rows if row]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


ROUTES = (
    screen("/nights", "Nights", "nights.html", gather, every_s=2.0),
    screen("/night", "Night", "night.html", gather_entry, Asked, every_s=None),
)
