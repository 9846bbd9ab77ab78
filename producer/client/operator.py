"""`Operator`: the calls of operators: fits, runs, status, lanes, workers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec
from redis.exceptions import RedisError

from reckoner.producer.client import steering
from reckoner.producer.client.answers import RunReport
from reckoner.producer.client.calls import (
    ASK_S,
    deadline,
    deadline_after,
    require_lane,
    require_number,
    translates_redis_errors,
)
from reckoner.producer.client.connection import Client
from reckoner.producer.client.failures import FailureGroup, Failures, GroupRetried
from reckoner.producer.client.showing import Shown, ShownItem, show_item, show_user
from reckoner.producer.client.status import Status, now_ms, read_status, read_workers
from reckoner.producer.client.waiting import retry_while_away
from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH, MAX_RECENCY, MAX_SPARE, SPARE
from reckoner.shared.errors import (
    BarredError,
    EntryUnknownError,
    FlowUnknownError,
    GenerationUnknownError,
    NightInProgressError,
    PromotionError,
    UsageError,
)
from reckoner.shared.flows.flows import FLOWS_AT_ONCE
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.flows.nights import Beginning, Night, NightOptions, Nights
from reckoner.shared.ids import fresh_id, require_id
from reckoner.shared.nightly import Nightly, last_due, require_date
from reckoner.shared.serving.generations import PointerTarget, counted_by, generation_id
from reckoner.shared.serving.history import MOST, Entry, History, Kind
from reckoner.shared.store.model_config import ModelConfig, fit_spec, model_id
from reckoner.shared.wire.shapes import MAX_ITEMS, Lane, Record


class Operator:
    """The operator's calls of a client; see `Reckoner.operator`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._nights = Nights(client.redis, client.keys)
        self._history = History(client.redis, client.keys)

    @translates_redis_errors
    async def fit(
        self,
        snapshot: str,
        config: ModelConfig,
        list_length: int,
        *,
        recency: float = 0.0,
        spare: int = SPARE,
        timeout: float | None = ASK_S,
    ) -> tuple[str, str]:
        """Fit a model, or join the running fit of the same generation.

        Lists have `spare` more places, for readers that leave some out. An item of a history weighs (1 + n)^-`recency`,
        n being the number of the user's later items. It needs a snapshot with times: `recency_of` tells the default of
        `reckoner fit`, and so the store.

        Returns:
            The id of the job, and the id of the model.

        Raises:
            UsageError: the list length, the recency, the number of spare places or the snapshot's id is invalid.
            QueueFullError: the batch lane is full.
        """
        require_id("snapshot", snapshot)
        require_number("The list length", list_length, MAX_LIST_LENGTH)
        if not 0 <= spare <= MAX_SPARE:
            raise UsageError(f"The number of spare places is {spare}, but must be from 0 to {MAX_SPARE}.")
        if not 0 <= recency <= MAX_RECENCY:
            raise UsageError(f"The recency is {recency:g}, but must be from 0 to {MAX_RECENCY:g}.")
        model, spec = model_id(snapshot, config), fit_spec(snapshot, config, list_length, recency=recency, spare=spare)
        return await self._client.asking.create_fit(spec, generation_id(model, spec.options, spec.spare)), model

    @translates_redis_errors
    async def newest(self, *, timeout: float | None = ASK_S) -> Record:
        """The record of the newest generation.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return (await self._client.results.generations.follow(self._client.keys.newest)).require()

    @translates_redis_errors
    async def start_run(
        self, block_size: int | None = None, window: int | None = None, *, timeout: float | None = ASK_S
    ) -> tuple[str, bool]:
        """Start a run of the newest model, or join the running one; returns its id and whether it is new.

        It counts what was recorded, and leaves out what was hidden, until now: then it makes another generation.

        A block has `block_size` users, by default as many as make some 20 ms of work. At most `window` blocks are in
        flight, by default as many as the live workers hold.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: the block size or the window is invalid.
        """
        if block_size is not None:
            require_number("The block size", block_size, MAX_BLOCK_USERS)
        if window is not None:
            require_number("The number of blocks in flight", window, FLOWS_AT_ONCE)
        record = await self._client.runs.with_news(await self.newest(timeout=None))
        return await self._client.runs.start(record, block_size, window)

    @translates_redis_errors
    async def promote(self, generation: str, *, timeout: float | None = ASK_S) -> str | None:
        """Make a generation whose lists are whole live, whatever the gate said; the live one becomes the previous one.

        Readers see it at their next read. It is also how a generation that was rolled back goes live again.

        Returns:
            The generation that was live, None if there was none.

        Raises:
            GenerationUnknownError: there is no such generation.
            PromotionError: some of its lists are missing, or another one went live meanwhile.
            UsageError: the generation's id is invalid.
        """
        current = await self._client.results.generations.follow(self._client.keys.current)
        before = current.named
        await self._go_live(require_id("generation", generation), current)
        if before != generation:
            await self._remember("promote", generation)
        return before

    @translates_redis_errors
    async def rollback(self, *, timeout: float | None = ASK_S) -> tuple[str, str]:
        """Make the previous generation live again. No run makes the one that was live current again: see `promote`.

        Returns:
            The generation that is live now, and the one that was.

        Raises:
            BarredError: the previous generation was rolled back itself.
            GenerationUnknownError: its record is missing.
            PromotionError: there is no previous generation, some of its lists are missing, or another one went live
                meanwhile.
        """
        keys, generations = self._client.keys, self._client.results.generations
        current, previous = await generations.follow(keys.current), await generations.pointer(keys.previous)
        before = current.named
        if previous is None or before is None:
            raise PromotionError("There is no previous generation to go back to: see `reckoner status`.")
        if previous in await generations.barred():
            raise BarredError(previous)
        await self._go_live(previous, current, bars=True)
        await self._remember("rollback", previous)
        return previous, before

    async def _remember(self, kind: Literal["promote", "rollback"], generation: str) -> None:
        at_ms = await now_ms(self._client.redis)
        entry = Entry(
            id=fresh_id(),
            kind=kind,
            outcome="live",
            started_ms=at_ms,
            ended_ms=at_ms,
            starter="command",
            generation=generation,
        )
        # It is done: without an entry too.
        with suppress(RedisError):
            await self._history.remember(entry)

    async def _go_live(self, generation: str, current: PointerTarget, *, bars: bool = False) -> None:
        generations, redis = self._client.results.generations, self._client.redis
        held = (await generations.holdings()).get(generation)
        if held is not None and held.until_ms <= await now_ms(redis):
            raise PromotionError(f"Some lists of generation {generation} have expired: see RECKONER_RESULT_TTL_S.")
        match await generations.promote(generation, current, bars=bars):
            case "lost":
                raise GenerationUnknownError
            case "incomplete":
                raise PromotionError(
                    f"Generation {generation} does not hold every user's list: compute them with `reckoner batch`."
                )
            case "moved":
                raise PromotionError("Another generation went live at the same time. Nothing was changed.")
        # Lists that were not live did not follow what users have done since.
        record = await generations.record(generation)
        if record is not None:
            await self._client.events.add_changed(counted_by(record))
        self._client.results.forget_pointer()

    @translates_redis_errors
    async def begin_night(
        self, date: str | None, options: NightOptions, nightly: Nightly | None = None, *, timeout: float | None = ASK_S
    ) -> tuple[str, str, Beginning]:
        """Begin the night of a date, or join the one under way.

        The default is the date that was due last by `nightly`, or today's in UTC.

        A date whose night did not go live may have another one.

        Returns:
            The night's id, its date, and whether it was started, joined, or known: the date had its night.

        Raises:
            NightInProgressError: a night with other options is under way.
            UsageError: the date is invalid.
        """
        if date is None:
            # By the server's clock.
            now = datetime.fromtimestamp(await now_ms(self._client.redis) / 1000, UTC)
            of_date = (last_due(now, nightly).date if nightly else now.date()).isoformat()
        else:
            of_date = require_date(date)
        night_id, beginning = await self._nights.begin(of_date, "command", options)
        if beginning == "joined" and (night := await self._nights.load(night_id)) and night.options != options:
            raise NightInProgressError(night_id)
        return night_id, of_date, beginning

    @translates_redis_errors
    async def night(self, night_id: str, *, timeout: float | None = ASK_S) -> Night:
        """The state of a night.

        Raises:
            FlowUnknownError: the night does not exist, or has expired.
            UsageError: the night's id is invalid (`require_id`).
        """
        night = await self._nights.load(require_id("night", night_id))
        if night is None:
            raise FlowUnknownError
        return night

    async def follow_night(self, night_id: str, *, timeout: float | None = None) -> AsyncIterator[Night]:
        """Yield the state of a night once a second and at its end.

        Raises:
            FlowUnknownError: the night does not exist, or has expired.
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: it did not end in time.
        """
        self._client.require_own_loop()
        moment = deadline_after(timeout)
        async with self._client.waiting.notifications(require_id("night", night_id)) as notified:
            while True:
                async with deadline(moment):
                    await notified()
                    night = await retry_while_away(lambda: self._nights.load(night_id))
                if night is None:
                    raise FlowUnknownError
                yield night
                if night.outcome is not None:
                    self._client.results.forget_pointer()
                    return

    @translates_redis_errors
    async def entries(self, n: int = 20, kind: Kind | None = None, *, timeout: float | None = ASK_S) -> list[Entry]:
        """The `n` newest entries of the history, of one kind if it is given, newest first.

        Raises:
            UsageError: `n` is invalid.
        """
        require_number("The number of entries", n, MOST)
        found = await self._history.newest(n if kind is None else MOST)
        return [entry for entry in found if kind in (None, entry.kind)][:n]

    @translates_redis_errors
    async def entry(self, entry_id: str, *, timeout: float | None = ASK_S) -> Entry:
        """An entry of the history.

        Raises:
            EntryUnknownError: there is none with this id.
            UsageError: the id is invalid.
        """
        return await self._entry(entry_id)

    @translates_redis_errors
    async def acknowledge(self, entry_id: str, *, timeout: float | None = ASK_S) -> Entry:
        """Note that somebody knows how this ended. Raises as `entry` does."""
        entry = msgspec.structs.replace(await self._entry(entry_id), acknowledged=True)
        await self._history.remember(entry)
        return entry

    @translates_redis_errors
    async def show(
        self,
        user: str,
        n: int | None = None,
        *,
        generation: str | None = None,
        patience_s: float | None = None,
        timeout: float | None = None,
    ) -> Shown:
        """A user's history, recent events and cached list, next to the list of the previous generation.

        The list of a given `generation` is compared with the live one. The history comes from the workers, which are
        waited for `patience_s` seconds, or without a limit.

        Raises:
            NothingFittedError: no model was fitted yet.
            GenerationUnknownError: there is no such generation.
            UserUnknownError: the user is not in the data.
            UsageError: an id (`require_id`) or `n` is invalid.
        """
        return await show_user(self._client, require_id("user", user), n, generation, patience_s)

    @translates_redis_errors
    async def show_item(
        self, item: str, n: int = 20, *, patience_s: float | None = None, timeout: float | None = None
    ) -> ShownItem:
        """An item's neighbours, its tags, whether it is hidden, and how often it stands in some of the live lists.

        The neighbours come from the workers, which are waited for `patience_s` seconds, or without a limit.

        Raises:
            NothingFittedError: no model was fitted yet.
            ItemUnknownError: the item is not in the data.
            UsageError: the item's id (`require_id`) or `n` is invalid.
        """
        require_number("n", n, MAX_ITEMS)
        return await show_item(self._client, require_id("item", item), n, patience_s)

    @translates_redis_errors
    async def failures(self, *, timeout: float | None = None) -> list[FailureGroup]:
        """The dead letters grouped by reason, the group with the newest letter first.

        There is no default timeout, since the time grows with the number of dead letters.
        """
        return await Failures(self._client).groups()

    @translates_redis_errors
    async def retry_failures(self, group: str, *, timeout: float | None = None) -> GroupRetried:
        """Retry the failed jobs of a group of `failures`; a job that cannot be retried stays.

        Raises:
            LetterUnknownError: there is no such group.
        """
        return await Failures(self._client).retry(group)

    @translates_redis_errors
    async def drop_failures(self, group: str, *, timeout: float | None = None) -> int:
        """Drop the dead letters of a group of `failures` for good; returns their number.

        Raises:
            LetterUnknownError: there is no such group.
        """
        return await Failures(self._client).drop(group)

    async def _entry(self, entry_id: str) -> Entry:
        entry = await self._history.find(require_id("history", entry_id))
        if entry is None:
            raise EntryUnknownError
        return entry

    @translates_redis_errors
    async def run(self, run_id: str, *, timeout: float | None = ASK_S) -> RunReport:
        """The state of a run.

        Raises:
            FlowUnknownError: the run does not exist, or has expired.
            UsageError: the run's id is invalid (`require_id`).
        """
        return await self._report(require_id("run", run_id))

    async def _report(self, run_id: str) -> RunReport:
        run = await self._client.runs.load(run_id)
        if run is None:
            raise FlowUnknownError
        if run.state == "ended":
            # This client reads the run's lists from now on.
            self._client.results.forget_pointer()
        return RunReport(run, run.blocks if run.state == "ended" else await self._client.runs.progress(run_id))

    async def follow_run(self, run_id: str, *, timeout: float | None = None) -> AsyncIterator[RunReport]:
        """Yield the state of a run once a second and at its end; see `Reckoner.follow`."""
        self._client.require_own_loop()
        moment = deadline_after(timeout)
        async with self._client.waiting.notifications(require_id("run", run_id)) as notified:
            while True:
                async with deadline(moment):
                    await notified()
                    report = await retry_while_away(lambda: self._report(run_id))
                yield report
                if report.run.state == "ended":
                    return

    @translates_redis_errors
    async def status(self, *, timeout: float | None = ASK_S) -> Status:
        """The status of the system, read in bounded time."""
        return await read_status(self._client.redis, self._client.keys, self._client.results, self._client.runs)

    @translates_redis_errors
    async def pause(self, lane: Lane, *, timeout: float | None = ASK_S) -> int:
        """Pause a lane: workers take no more jobs from it; running jobs finish.

        Returns:
            The time of the pause, in milliseconds since the epoch by the server's clock.

        Raises:
            UsageError: the lane does not exist.
        """
        require_lane(lane)
        return await steering.pause(self._client.redis, self._client.keys, lane)

    @translates_redis_errors
    async def resume(self, lane: Lane, *, timeout: float | None = ASK_S) -> bool:
        """Resume a lane; False if it was not paused. See `pause`."""
        require_lane(lane)
        return await steering.resume(self._client.redis, self._client.keys, lane)

    @translates_redis_errors
    async def alive(self, *, timeout: float | None = ASK_S) -> list[LiveWorker]:
        """The live workers, with their heartbeats."""
        return await Heartbeats(self._client.redis, self._client.keys).alive()

    @translates_redis_errors
    async def drain(self, workers: Sequence[LiveWorker], *, timeout: float | None = ASK_S) -> None:
        """Let workers finish their running jobs and exit; their supervisor does not replace them.

        Raises:
            DrainRefusedError: the heartbeat of one is unreadable; then none of them is drained.
        """
        await steering.drain(self._client.redis, self._client.keys, workers)

    async def drained(self, workers: Sequence[str], *, timeout: float | None = None) -> AsyncIterator[str]:
        """Yield draining workers as they exit.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: some did not exit in time.
        """
        self._client.require_own_loop()
        moment, ended = deadline_after(timeout), steering.drained(self._client.redis, self._client.keys, workers)
        while True:
            async with deadline(moment):
                worker = await anext(ended, None)
            if worker is None:
                return
            yield worker

    @translates_redis_errors
    async def workers(self, since_ms: int = 0, *, timeout: float | None = ASK_S) -> list[str]:
        """The ids of the live workers with a heartbeat since `since_ms` by the server's clock."""
        return await read_workers(self._client.redis, self._client.keys, since_ms)
