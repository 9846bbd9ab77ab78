"""Drives the night under way: one worker at a time, and another one goes on where that one died."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from msgspec.structs import replace

from reckoner.shared.errors import ReckonerError, WireError, is_environment_error
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import DRIVER_TTL_MS, STAGES, Night, Nights, Stage, StageName
from reckoner.shared.metrics.table import NIGHTS_ENDED, STAGES_ENDED
from reckoner.shared.periodic import renewing, run_periodically
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.serving.history import Entry, History
from reckoner.shared.version import can_import
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.night.entry import entry_of, outcome_of
from reckoner.workers.night.list_stages import clean_up_stage, everybody_stage, flip_stage, gate_stage
from reckoner.workers.night.model_stages import fit_stage, import_stage
from reckoner.workers.night.notices import notify
from reckoner.workers.night.renewal import renew_current
from reckoner.workers.night.work import FIRST_PAUSE_S, Work
from reckoner.workers.runtime.history import keep, remember
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

PERIOD_S = 1.0
# A night goes on after so many interruptions in a row, each followed by a pause that doubles. One that comes after a
# calm time is the first one again.
MOST_FAILURES, CALM_S = 10, 60.0
IMPORTER_GRACE_S = 120.0
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 2_000, 60_000


WORK: dict[StageName, Callable[[Work], Awaitable[None]]] = {
    "import": import_stage,
    "fit": fit_stage,
    "everybody": everybody_stage,
    "gate": gate_stage,
    "flip": flip_stage,
    "clean-up": clean_up_stage,
}


class NotDrivingError(Exception):
    """Another worker drives the night, or it has ended."""


class NightDriver:
    """The driver of nights in one worker process."""

    def __init__(self, runtime: Runtime, *, imports: bool | None = None, first_pause_s: float | None = None) -> None:
        self._runtime = runtime
        self._imports = can_import(runtime.settings.source) if imports is None else imports
        self._first_pause_s = FIRST_PAUSE_S if first_pause_s is None else first_pause_s
        self._nights = Nights(runtime.redis, runtime.keys)
        self._importer_seen_s = time.monotonic()
        self._notified = ""
        """The night of the last notice."""

    async def run(self) -> None:
        """Drive nights, for ever."""
        await run_periodically("night", PERIOD_S, self.drive)

    async def drive(self) -> None:
        """Drive the night under way to its end, unless another worker does."""
        night_id = await self._nights.under_way()
        if night_id is None:
            return
        redis, driver, token = self._runtime.redis, self._runtime.keys.night_driver, secrets.token_hex(8)
        if not await self._may_drive(night_id) or not await call(redis, "lock", [driver], [token, DRIVER_TTL_MS]):
            return
        try:
            async with renewing(redis, driver, token, DRIVER_TTL_MS):
                await self._drive(night_id, token)
        except NotDrivingError:
            log.warning("night left to another worker", night=night_id)
        finally:
            await call(redis, "unlock", [driver], [token])

    async def _may_drive(self, night_id: str) -> bool:
        """Whether this worker can do the next stage, or has to say that no worker can."""
        try:
            night = await self._nights.load(night_id)
        except WireError:
            night = None
        if night is None:
            await self._end_lost(night_id)
            return False
        now_ms = await self._runtime.now_ms()
        if night.due_ms > now_ms or self._runtime.store_watch.trouble:
            return False
        if self._imports or not self._wants_import(night):
            return True
        if await self._another_imports():
            self._importer_seen_s = time.monotonic()
            return False
        # The worker that imports may just be starting anew.
        return time.monotonic() - self._importer_seen_s > IMPORTER_GRACE_S

    async def _end_lost(self, night_id: str) -> None:
        """End a night whose state is missing or invalid. One of its date may begin again."""
        keys, reason = self._runtime.keys, "its state was missing or invalid"
        if await call(self._runtime.redis, "unlock", [keys.night_now], [night_id]):
            await ask(self._runtime.redis, "DEL", keys.night_state(night_id))
            self._runtime.counters.count(NIGHTS_ENDED, "failed")
            now_ms = await self._runtime.now_ms()
            await remember(
                self._runtime,
                Entry(
                    id=night_id,
                    kind="night",
                    outcome="failed",
                    started_ms=now_ms,
                    ended_ms=now_ms,
                    reasons=[reason],
                ),
            )
            log.error("night ended", night=night_id, outcome="failed", reason=reason)

    def _wants_import(self, night: Night) -> bool:
        stage = night.stages.get("import")
        return bool(self._runtime.settings.source) and night.options.imports and not (stage and stage.outcome)

    async def _another_imports(self) -> bool:
        alive = await Heartbeats(self._runtime.redis, self._runtime.keys).alive()
        return any(worker.beat is not None and worker.beat.imports for worker in alive)

    async def _drive(self, night_id: str, token: str) -> None:
        night = await self._nights.load(night_id)
        if night is None or night.outcome is not None:
            return
        began_s = time.monotonic()
        try:
            for name in STAGES:
                stage = night.stages.get(name)
                if stage is None or stage.outcome is None:
                    night.stages[name] = stage = await self._run(night, token, name)
                if stage.outcome in ("refused", "failed"):
                    break
            await self._end(night, token)
        except NotDrivingError:
            raise
        except Exception as error:
            if time.monotonic() - began_s > CALM_S:
                night.failures = 0
            if night.failures >= MOST_FAILURES:
                return await self._fail(night, token, error)
            pause_ms = min(FIRST_PAUSE_MS * 2**night.failures, LONGEST_PAUSE_MS)
            await self._nights.interrupt(night, token, await self._runtime.now_ms() + pause_ms)
            log.warning("night interrupted", night=night.id, reason=_reason(error), pause_s=pause_ms / 1000)

    async def _run(self, night: Night, token: str, name: StageName) -> Stage:
        async def save(stage: Stage) -> None:
            if not await self._nights.note(night, token, stage):
                raise NotDrivingError
            night.stages[name] = stage

        begun = night.stages.get(name) or Stage(name, await self._runtime.now_ms())
        work = Work(self._runtime, night, begun, save, self._first_pause_s)
        await work.note()
        log.info("stage started", night=night.id, stage=name)
        try:
            if name == "import" and self._wants_import(night) and not self._imports:
                await work.end(
                    "failed",
                    "No worker can import this source: install the extra `data`, `sql` or `s3` for at least one.",
                )
            else:
                await _patiently(lambda: WORK[name](work))
        except ReckonerError as error:
            if is_environment_error(error) or isinstance(error, WireError):
                raise
            await work.end("failed", str(error))
        ended = work.stage
        log.info(
            "stage ended",
            night=night.id,
            stage=name,
            outcome=ended.outcome,
            seconds=_seconds(ended),
            what=ended.message,
        )
        return ended

    async def _fail(self, night: Night, token: str, error: Exception) -> None:
        """End a night that was interrupted too often. The stage that ran or would come next failed, if one was left."""
        left = [name for name in STAGES if name not in night.stages or night.stages[name].outcome is None]
        if left and not any(stage.outcome in ("refused", "failed") for stage in night.stages.values()):
            now_ms = await self._runtime.now_ms()
            stage = night.stages.get(left[0]) or Stage(left[0], now_ms)
            night.stages[left[0]] = replace(stage, outcome="failed", ended_ms=now_ms, message=_reason(error))
            await self._nights.note(night, token, night.stages[left[0]])
            await self._stop_run(night)
        try:
            await self._end(night, token)
        except NotDrivingError:
            raise
        except Exception as again:
            log.error("night ended without its entry in the history", night=night.id, reason=_reason(again))
            if await self._nights.end(night, token, outcome_of(night)):
                self._count(night)

    async def _stop_run(self, night: Night) -> None:
        """Start no more blocks of a failed night's run, which would go live after it."""
        everybody = night.stages.get("everybody")
        if everybody is not None and everybody.job and everybody.outcome == "failed":
            run = await self._runtime.runs.load(everybody.job)
            if run is not None and run.state == "run":
                await self._runtime.runs.curtail(run)

    async def _end(self, night: Night, token: str) -> None:
        outcome = outcome_of(night)
        if outcome not in ("live", "unchanged"):
            try:
                await _patiently(lambda: renew_current(self._runtime))
            except Exception as error:
                log.warning("lists not renewed", night=night.id, reason=_reason(error))
        entry = await entry_of(self._runtime, night, outcome)
        # A driver that has lost its claim changes no entry.
        if not await self._nights.is_driven_by(token):
            raise NotDrivingError
        await History(self._runtime.redis, self._runtime.keys).remember(entry)
        await keep(self._runtime, entry)
        # Before the end: if this worker dies here, the next driver sends it again.
        if self._runtime.settings.on_night and self._notified != night.id:
            await notify(self._runtime.settings.on_night, entry)
            self._notified = night.id
        if not await self._nights.end(night, token, outcome):
            raise NotDrivingError
        self._count(night)
        write = log.info if outcome in ("live", "unchanged", "held") else log.warning
        write("night ended", night=night.id, date=night.date, outcome=outcome, reasons=entry.reasons)

    def _count(self, night: Night) -> None:
        counters = self._runtime.counters
        counters.count(NIGHTS_ENDED, outcome_of(night))
        for name, stage in night.stages.items():
            if stage.outcome is not None:
                counters.count(STAGES_ENDED, name, stage.outcome)


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do work that goes on where it was, again while an artifact is being verified."""
    while True:
        try:
            return await work()
        except NotNowError:
            await asyncio.sleep(PERIOD_S)


def _seconds(stage: Stage) -> float:
    return ((stage.ended_ms or stage.started_ms) - stage.started_ms) / 1000


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
