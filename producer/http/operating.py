"""What operators ask: runs, nights, and the status."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from reckoner.producer.http.calls import Call
from reckoner.producer.http.fields import Count, Cursor, Id
from reckoner.producer.http.paging import from_cursor, to_cursor
from reckoner.producer.http.routes import Nothing, Route
from reckoner.producer.objects import entry_object, night_object, run_object, status_object
from reckoner.shared.errors import EntryUnknownError, FlowUnknownError
from reckoner.shared.flows.nights import NightOptions
from reckoner.shared.nightly import parse_nightly
from reckoner.shared.serving.history import MOST, Kind
from reckoner.shared.store.location import imported_last


class OfRuns(Struct, frozen=True, kw_only=True):
    """Which page of the history."""

    kind: Annotated[Kind, Meta(description="One kind only.")] | None = None
    n: Count = 20
    cursor: Cursor | None = None


class RunsPage(Struct, frozen=True):
    """A page of the history of nights, runs, fits, imports and evaluations, newest first."""

    runs: list[dict[str, Any]]
    next: str | None


async def runs(call: Call, asked: OfRuns) -> RunsPage:
    """A page of the history."""
    found = await call.reckoner.operator.entries(MOST, asked.kind, timeout=call.left_s)
    if asked.cursor:
        after = from_cursor(asked.cursor, tuple[int, str])
        found = [entry for entry in found if (entry.started_ms, entry.id) < after]
    page = found[: asked.n]
    last = to_cursor((page[-1].started_ms, page[-1].id)) if len(found) > len(page) else None
    return RunsPage([entry_object(entry) for entry in page], last)


class OfRun(Struct, frozen=True):
    """Which entry of the history."""

    id: Annotated[Id, Meta(description="An id of /v1/runs.")]


async def run(call: Call, asked: OfRun) -> dict[str, Any]:
    """An entry of the history, or a run or a night that has not ended.

    Raises:
        EntryUnknownError: there is none.
    """
    operator = call.reckoner.operator
    try:
        return entry_object(await operator.entry(asked.id, timeout=call.left_s))
    except EntryUnknownError:
        with suppress(FlowUnknownError):
            report = await operator.run(asked.id, timeout=call.left_s)
            return run_object(report.run) | {"blocks_done": report.blocks_done}
        with suppress(FlowUnknownError):
            return night_object(await operator.night(asked.id, timeout=call.left_s))
        raise


class NewRun(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be started: a `run`, which computes all lists, or a `night`, which imports and fits before."""

    kind: Literal["run", "night"] = "run"
    date: Annotated[str, Meta(description="Of a night: its date, as in 2026-01-31.")] | None = None
    imports: Annotated[bool, Meta(description="Of a night: whether it imports.")] = True
    fits: Annotated[bool, Meta(description="Of a night: whether it fits a model.")] = True
    dry: Annotated[bool, Meta(description="Of a night: whether it changes nothing that readers see.")] = False


class Started(Struct, frozen=True):
    """The id of a run or a night; `new` is false if it was under way or over before."""

    id: str
    new: bool


async def start(call: Call, _: Nothing) -> Started:
    """Start a run or a night."""
    asked, operator = call.body(NewRun), call.reckoner.operator
    if asked.kind == "run":
        return Started(*await operator.start_run(timeout=call.left_s))
    options = NightOptions(asked.imports, asked.fits, asked.dry)
    nightly = parse_nightly(call.server.config.settings.nightly)
    night_id, _date, beginning = await operator.begin_night(asked.date, options, nightly, timeout=call.left_s)
    return Started(night_id, beginning == "started")


async def status(call: Call, _: Nothing) -> dict[str, Any]:
    """The status of the system."""
    imported = await asyncio.to_thread(imported_last, call.server.config.settings)
    return status_object(await call.reckoner.operator.status(timeout=call.left_s), imported)


ROUTES = (
    Route(
        method="GET",
        path="/v1/runs",
        role="read",
        handle=runs,
        summary="How nights, runs, fits, imports and evaluations ended, newest first, in pages.",
        asked=OfRuns,
        answer=RunsPage,
        example={"n": 3},
    ),
    Route(
        method="GET",
        path="/v1/runs/{id}",
        role="read",
        handle=run,
        summary="How one of them ended, as `reckoner runs show --json` prints it; until then, its progress.",
        asked=OfRun,
        answer=dict[str, Any],
        problems=("run-unknown",),
    ),
    Route(
        method="POST",
        path="/v1/runs",
        role="admin",
        handle=start,
        summary="Start a run or a night, or join the one that is under way.",
        body=NewRun,
        answer=Started,
        status=202,
        example={"body": {"kind": "run"}},
        problems=("no-model", "conflict"),
    ),
    Route(
        method="GET",
        path="/v1/status",
        role="read",
        handle=status,
        summary="Workers, queue, flows, runs and generations, as `reckoner status --json` prints them.",
        answer=dict[str, Any],
    ),
)
