"""`Reckoner`: requests, waits for and reads recommendations from application code; needs neither numpy nor store."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Self, overload

from reckoner.producer.client.answers import (
    BasketAnswer,
    Compared,
    Enqueued,
    EnqueuedBasket,
    JobReport,
    NamedList,
    RecentEvent,
    Similar,
    UserHistory,
)
from reckoner.producer.client.asking import job_error
from reckoner.producer.client.calls import (
    ASK_S,
    DEFAULT_N,
    deadline,
    deadline_after,
    places_wanted,
    require_ids,
    require_lane,
    require_number,
    time_limit,
    translates_redis_errors,
)
from reckoner.producer.client.catalogue import Catalogue
from reckoner.producer.client.connection import Client
from reckoner.producer.client.operator import Operator
from reckoner.producer.client.questions import as_basket, basket_spec, require_places
from reckoner.producer.client.recording import Event, Recorded, hide_for, move_history, recent_events
from reckoner.producer.client.waiting import retry_while_away
from reckoner.shared.defaults import MAX_EVENTS, MAX_QUEUED
from reckoner.shared.errors import (
    EventRefusedError,
    EventsFullError,
    FlowUnknownError,
    ListUnknownError,
    QueueFullError,
    UsageError,
)
from reckoner.shared.event_types import EventTypes
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.ids import require_id
from reckoner.shared.list_names import POPULAR, require_fallback
from reckoner.shared.serving.impressions import Rotation
from reckoner.shared.serving.results import Answer, Reading
from reckoner.shared.wire.filters import Filter, filter_if_any, filter_of
from reckoner.shared.wire.shapes import MAX_ITEMS, BasketResult, Lane, Record, Result

# The event types of an application that names none.
BUILT_IN_TYPES = EventTypes()


class Reckoner:
    """A connection to Ready Reckoner.

    Use it as an asynchronous context manager in one event loop. Entering it raises RedisUnavailableError if Redis does
    not answer; leaving it ends waiting calls with a ClientClosedError. Any number of concurrent calls share three
    connections, for reads, commands and notifications. (`max_connections` in the URL allows more for commands.)

    Calls that wait use the click lane, which goes before the batch lane; if their job is on the batch lane already,
    they move it. `enqueue` and its variants use the batch lane. A lane with `max_queued` jobs refuses more with a
    QueueFullError; None means no limit.

    During an outage of Redis a call raises RedisUnavailableError; a call that waits retries for a minute first. A call
    that exceeds its `timeout` in seconds raises WaitTimeoutError, and its job continues. The default is ten seconds for
    calls that only use Redis, and no limit (None) for calls that wait for workers.

    `fallback` names the lists for a user without one, as in `trending:shoes, popular`: the first of which
    something may be shown.

    Without entering it, as in `contextlib.aclosing(Reckoner(url))`, it connects with the first call. A call from a
    second event loop raises WrongLoopError.

    `record` knows the given `event_types`; see `parse_event_types`. Redis holds at most `max_events` events that no
    live list counts.

    With a `rotation`, what was shown and not taken goes down: record it as events of the type `impression`.

    `catalogue` has the calls of whoever keeps the items: it hides them from everybody, and changes their tags.
    `operator` has those of operators: fits, runs, status, lanes, workers.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reckoner",
        first_look_s: float = 10.0,
        max_queued: int | None = MAX_QUEUED,
        fallback: str = POPULAR,
        event_types: EventTypes = BUILT_IN_TYPES,
        max_events: int = MAX_EVENTS,
        rotation: Rotation | None = None,
    ) -> None:
        chain = require_fallback(fallback)
        self._client = Client(url, prefix, first_look_s, max_queued, chain, event_types, max_events, rotation)

    async def __aenter__(self) -> Self:
        await self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @cached_property
    def operator(self) -> Operator:
        """The calls of operators: fits, runs, status, lanes, workers."""
        return Operator(self._client)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The calls of whoever keeps the items: hides them from everybody, and changes their tags."""
        return Catalogue(self._client)

    @translates_redis_errors
    async def generation(self, *, timeout: float | None = ASK_S) -> str:
        """The id of the current generation, read anew; the calls that follow use it.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return (await self._client.results.current(anew=True)).generation

    async def _reach(self, n: int | None, generation: str | None = None) -> tuple[Record, int]:
        """A generation's record and the number of places to read: `n`, or at most ten by default.

        Raises:
            NothingFittedError: no model was fitted yet, or the record is missing.
            GenerationUnknownError: there is no such generation.
            UsageError: `n` is below 1 or above the length of the lists, or the generation's id is invalid.
        """
        record = await self._client.results.record(generation)
        return record, places_wanted(n, record)

    async def _report(self, job: str) -> JobReport:
        flow = await self._client.flows.load(job)
        if flow is None:
            raise FlowUnknownError
        traces = await self._client.flows.traces(job)
        return JobReport(flow, flow.tasks if flow.state == "done" else await self._client.flows.stored(job), traces)

    async def follow(self, job: str, *, timeout: float | None = None) -> AsyncIterator[JobReport]:
        """Yield the state of a job once a second and at its end.

        Raises:
            FlowUnknownError: the job does not exist, or has expired.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: the job's id is invalid (`require_id`).
            WaitTimeoutError: the job did not end in time.
        """
        self._client.require_own_loop()
        moment = deadline_after(timeout)
        async with self._client.waiting.notifications(require_id("job", job)) as notified:
            while True:
                async with deadline(moment):
                    await notified()
                    report = await retry_while_away(lambda: self._report(job))
                yield report
                if report.flow.ended:
                    return

    async def enqueue(
        self, user: str, *, fresh: bool = False, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> Enqueued:
        """Enqueue a job for a user's list if it is not cached, or always if `fresh`; see `enqueue_many`."""
        return (await self.enqueue_many([user], fresh=fresh, lane=lane, timeout=timeout))[0]

    @translates_redis_errors
    async def enqueue_many(
        self,
        users: Sequence[str],
        *,
        fresh: bool = False,
        lane: Lane = "batch",
        generation: str | None = None,
        timeout: float | None = None,
    ) -> list[Enqueued]:
        """Enqueue jobs for the lists of those `users` who have none in the cache, or of all if `fresh`.

        There is no default timeout, since the time grows with the number of users.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: a user's id is invalid (`require_id`), or the lane does not exist.
            QueueFullError: the lane is full; `taken` has the answers for the users before the first refused one.
        """
        require_lane(lane)
        require_ids("user", users)
        generation = generation or (await self._client.results.current()).generation
        cached = [None] * len(users) if fresh else await self._client.results.read(generation, users)
        wanted = [user for user, result in zip(users, cached, strict=True) if result is None]
        full: QueueFullError | None = None
        try:
            jobs = iter(await self._client.asking.create(wanted, generation, lane))
        except QueueFullError as error:
            jobs, full = iter(error.taken), error
        asked = _asked(users, cached, jobs)
        if full:
            raise QueueFullError(full.queued, full.most, len(users), asked) from full
        return asked

    async def recommend(
        self,
        user: str,
        n: int | None = None,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_per_tag: int | None = None,
        diversity: float | None = None,
        timeout: float | None = None,
        fresh: bool = False,
    ) -> Answer:
        """The first `n` places of a user's list, computed by the workers if it is not in the cache.

        A user without data or candidates gets the popular list, marked in `source`.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: `n` is below 1 or above the length of the lists, or the user's id is invalid (`require_id`).
            FlowFailedError: the job failed; the message has the reason.
            FlowCancelledError: the job was cancelled.
            QueueFullError: the click lane is full.
            WaitTimeoutError: the list was not ready in time; the job continues.
        """
        some = await self.recommend_many(
            [user],
            n,
            only=only,
            without=without,
            exclude=exclude,
            max_per_tag=max_per_tag,
            diversity=diversity,
            timeout=timeout,
            fresh=fresh,
        )
        return some[0]

    @translates_redis_errors
    async def recommend_many(
        self,
        users: Sequence[str],
        n: int | None = None,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_per_tag: int | None = None,
        diversity: float | None = None,
        timeout: float | None = None,
        fresh: bool = False,
    ) -> list[Answer]:
        """The first `n` places of users' lists, computed by the workers if they are not in the cache.

        With a filter (see `get_many`) they compute the lists for which the cached ones do not suffice.

        Raises:
            FlowFailedError: a job failed; see `recommend` for other errors.
            FlowCancelledError: a job was cancelled.
        """
        wanted = filter_if_any(
            only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity
        )
        answers, failed = await self._computed(users, n, fresh=fresh, wanted=wanted)
        for user, flow in failed.items():
            raise job_error(f"The job for user {user}", flow)
        return answers

    async def _computed(
        self,
        users: Sequence[str],
        n: int | None = None,
        *,
        fresh: bool = False,
        record: Record | None = None,
        wanted: Filter | None = None,
    ) -> tuple[list[Answer], dict[str, Flow | None]]:
        """Like `recommend_many`, but returns failed jobs; for the generation of `record`, or the current one.

        Returns:
            The lists of the users whose jobs succeeded; and the flow for each other user, None if Redis lost the job.
        """
        require_ids("user", users)
        if wanted is not None:
            return await self._client.filtering.computed(users, n, wanted, fresh=fresh, record=record)
        results = self._client.results
        if record is None or n is None:
            record, reading = await results.read_current(users, self._to_read(n))
            n = places_wanted(n, record)
        else:
            reading = await results.read_shown(record.generation, users, self._to_read(n))
        found: dict[str, Result | BasketResult | None] = dict(zip(users, reading.results, strict=True))
        # A list with too many places that must not be shown is computed anew without them, and one without what was
        # hidden then with it.
        short = {users[at] for at in results.short(reading, n, record)}
        missing = [user for user, result in found.items() if fresh or result is None or user in short]
        failed: dict[str, Flow | None] = {}
        if missing:
            anew = fresh or bool(short)
            computed, failed = await self._client.asking.lists(missing, record.generation, fresh=anew)
            found |= computed
        left = dict(zip(users, reading.left, strict=True))
        done = [user for user in users if user not in failed]
        reading = Reading([found[user] for user in done], [left[user] for user in done], reading.hidden)
        if self._client.rotates:
            reading = await self._rotated(done, reading)
        return await results.complete(done, reading, n, record), failed

    def _to_read(self, n: int | None) -> int | None:
        """The least number of places to decode of each list: all, if their order depends on what was shown."""
        return None if self._client.rotates else DEFAULT_N if n is None else n

    async def _rotated(self, users: Sequence[str], reading: Reading) -> Reading:
        impressions = self._client.impressions
        return impressions.rotated(reading, await impressions.counts(users)) if users else reading

    @translates_redis_errors
    async def impressions(self, user: str, *, timeout: float | None = ASK_S) -> dict[str, float]:
        """How often items were shown to a user, as it counts for the rotation now.

        Raises:
            UsageError: the user's id is invalid (`require_id`).
        """
        return (await self._client.impressions.counts([require_id("user", user)]))[0]

    @translates_redis_errors
    async def recommend_for(
        self,
        items: Sequence[str],
        n: int | None = None,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_per_tag: int | None = None,
        diversity: float | None = None,
        timeout: float | None = None,
    ) -> BasketAnswer:
        """The first `n` places of the list for a basket, that is, for an unknown user with these items.

        The workers compute it if it is not in the cache. A basket without candidates gets the popular list. If the
        live generation has recency, `items` are in the order of time, the oldest first, and the last count more.

        Raises:
            UsageError: `items` is a single string, too many or too long, or an id is invalid.
            FlowFailedError: the job failed or was cancelled; see `recommend` for other errors.
        """
        wanted = filter_if_any(
            only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity
        )
        return await self._basket(items, n, wanted)

    async def _basket(self, items: Sequence[str], n: int | None, wanted: Filter | None) -> BasketAnswer:
        basket = as_basket(items)
        if wanted is not None:
            return await self._client.filtering.basket(basket, n, wanted)
        record, n = await self._reach(n)
        return await self._client.questions.basket(basket, n, record)

    @translates_redis_errors
    async def enqueue_for(
        self, items: Sequence[str], *, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> EnqueuedBasket:
        """Enqueue a job for a basket's list if it is not cached; see `recommend_for`.

        Raises:
            UsageError: the basket is empty or invalid, or the lane does not exist.
            QueueFullError: the lane is full.
        """
        require_lane(lane)
        basket = as_basket(items)
        if not basket:
            raise UsageError("The basket is empty. Give at least one item.")
        spec = basket_spec(basket, await self._client.results.current())
        cached = await self._client.results.read_basket(spec)
        return EnqueuedBasket(spec.items, None if cached else await self._client.asking.create_basket(spec, lane))

    @overload
    async def similar(self, item: str, n: int = ..., *, timeout: float | None = ...) -> Similar: ...
    @overload
    async def similar(self, item: str, n: int = ..., *, other: str, timeout: float | None = ...) -> Compared: ...
    @overload
    async def similar(
        self, item: str, n: int = ..., *, other: str | None, timeout: float | None = ...
    ) -> Similar | Compared: ...
    async def similar(
        self, item: str, n: int = DEFAULT_N, *, other: str | None = None, timeout: float | None = None
    ) -> Similar | Compared:
        """An item's first `n` neighbours in the live model, or its similarity to one `other` item.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: `n` is below 1 or above 1,000, or an id is invalid (`require_id`).
            ItemUnknownError: an item is not in the data.
            FlowFailedError: the job failed or was cancelled; the message has the reason.
            WaitTimeoutError: the answer was not ready in time.
        """
        require_ids("item", [item] if other is None else [item, other])
        require_places(n)
        async with time_limit(timeout):
            return await (self._neighbours(item, n) if other is None else self._compared(item, other))

    @translates_redis_errors
    async def _neighbours(self, item: str, n: int) -> Similar:
        record = await self._client.results.current()
        return await self._client.questions.neighbours(item, n, record)

    @translates_redis_errors
    async def _compared(self, item: str, other: str) -> Compared:
        record = await self._client.results.current()
        return await self._client.questions.pair(item, other, record)

    @translates_redis_errors
    async def history(self, user: str, n: int = DEFAULT_N, *, timeout: float | None = None) -> UserHistory:
        """The first `n` interactions of a user's history, newest first if the data have times.

        Raises:
            UserUnknownError: the user is not in the data; see `similar` for other errors.
        """
        require_id("user", user)
        require_places(n)
        record = await self._client.results.current()
        return await self._client.questions.history(user, n, record)

    @translates_redis_errors
    async def named_list(self, name: str, n: int | None = None, *, timeout: float | None = ASK_S) -> NamedList:
        """The first `n` places of a list that is the same for all users, such as `latest` or `trending:shoes`.

        Raises:
            NothingFittedError: no model was fitted yet.
            ListUnknownError: there is no such list.
            UsageError: `n` is below 1 or above the length of the lists, or the name is invalid (`require_id`).
        """
        require_id("list", name)
        record, n = await self._reach(n)
        found = await self._client.results.named(name, n, record)
        if found is None:
            raise ListUnknownError
        source, items, left_out = found
        return NamedList(source, record.generation, items, left_out)

    @translates_redis_errors
    async def list_names(self, *, timeout: float | None = ASK_S) -> Sequence[str]:
        """The names of the lists that are the same for all users, sorted."""
        return await self._client.results.named_lists.names((await self._reach(None))[0].snapshot)

    @translates_redis_errors
    async def record(
        self,
        user: str,
        item: str,
        *,
        type: str = "interaction",
        weight: float | None = None,
        time: datetime | float | None = None,
        id: str = "",
        timeout: float | None = ASK_S,
    ) -> Recorded:
        """Record what a user did with an item; see `Event` and `record_many`.

        Raises:
            EventRefusedError: the event is invalid; the message says why.
            EventsFullError: Redis holds too many events that no live list counts yet.
        """
        [answer] = await self._client.recording.record([Event(user, item, type, weight, time, id)])
        if answer.status == "refused":
            raise (EventsFullError if answer.is_full else EventRefusedError)(answer.reason)
        return answer

    @translates_redis_errors
    async def record_many(self, events: Sequence[Event], *, timeout: float | None = None) -> list[Recorded]:
        """Record events; returns what became of each. Those that are refused are answered with the reason.

        A recorded event is in Redis. The next read leaves out what the user has just had, and a job for the user's list
        is made unless one is under way. There is no default timeout, since the time grows with the number of events.
        """
        return await self._client.recording.record(events)

    @translates_redis_errors
    async def recent(self, user: str, *, timeout: float | None = ASK_S) -> list[RecentEvent]:
        """The recorded events of a user that the snapshot of the live lists does not hold, in the order of recording.

        Lists count them beside the user's `history`.
        """
        return await recent_events(self._client.events, self._client.results, require_id("user", user))

    @translates_redis_errors
    async def merge(self, visitor: str, user: str, *, timeout: float | None = ASK_S) -> int:
        """Move what a visitor did, and hid, to a user, as at a login; returns the number of events.

        Events that an import has taken stay the visitor's.

        Raises:
            HistoryTooLongError: either would have, or has, too many events since the last import; nothing was moved.
            UsageError: an id is invalid (`require_id`), or both are the same.
        """
        require_ids("user", [visitor, user])
        return await move_history(self._client.events, visitor, user)

    @translates_redis_errors
    async def hide(self, user: str, *items: str, timeout: float | None = ASK_S) -> int:
        """Hide items from a user, who is not interested in them; returns how many were not hidden before.

        The next read leaves them out, and lists are computed without them until `unhide`.

        Raises:
            HistoryTooLongError: the user would hide over 1,000 items; nothing was changed.
            UsageError: an id is invalid (`require_id`), or there are too many items.
        """
        return await self._hide(user, items)

    @translates_redis_errors
    async def unhide(self, user: str, *items: str, timeout: float | None = ASK_S) -> int:
        """Undo `hide`; returns how many of the items were hidden. A recorded dislike stays.

        Raises:
            UsageError: an id is invalid (`require_id`), or there are too many items.
        """
        return await self._hide(user, items, show=True)

    async def _hide(self, user: str, items: Sequence[str], *, show: bool = False) -> int:
        require_id("user", user)
        require_ids("item", items)
        require_number("The number of items", len(items), MAX_ITEMS)
        return await hide_for(self._client.events, user, items, show=show)

    @translates_redis_errors
    async def hidden_for(self, user: str, *, timeout: float | None = ASK_S) -> list[str]:
        """The items that are hidden from a user by `hide`, in the order of their bytes."""
        require_id("user", user)
        return await self._client.events.hidden_for(user)

    async def wait(
        self, jobs: Sequence[str], *, timeout: float | None = None
    ) -> AsyncIterator[tuple[str, Flow | None]]:
        """Yield each job with its flow when it ends; the flow is None for an unknown or expired job.

        Raises:
            WaitTimeoutError: some did not end in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: `jobs` is a single string, or an id is invalid (`require_id`).
        """
        self._client.require_own_loop()
        require_ids("job", jobs)
        async for job, state in self._client.waiting.ends(jobs, timeout):
            yield job, (await self._client.asking.flows_of([job]))[0] if state else None

    @translates_redis_errors
    async def get(
        self,
        user: str,
        n: int | None = None,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_per_tag: int | None = None,
        diversity: float | None = None,
        timeout: float | None = ASK_S,
    ) -> Answer:
        """A user's cached list, or the popular one; see `get_many`."""
        # Not by `get_many`: each step between takes a hundredth of a hit.
        require_id("user", user)
        if only or without or exclude or max_per_tag is not None or diversity is not None:
            wanted = filter_of(
                only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity
            )
            return (await self._client.filtering.read([user], n, wanted))[0]
        results = self._client.results
        record, found = await results.read_current([user], self._to_read(n))
        if self._client.rotates:
            found = await self._rotated([user], found)
        return (await results.complete([user], found, places_wanted(n, record), record))[0]

    @translates_redis_errors
    async def get_many(
        self,
        users: Sequence[str],
        n: int | None = None,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        exclude: Sequence[str] = (),
        max_per_tag: int | None = None,
        diversity: float | None = None,
        timeout: float | None = ASK_S,
    ) -> list[Answer]:
        """The cached lists, or the popular list for users without one; creates no jobs.

        Args:
            users: Their ids.
            n: The number of places, at most ten by default.
            only: Tags. Items without any of them are left out, if there are some.
            without: Tags. Items with any of them are left out.
            exclude: Items to leave out.
            max_per_tag: The most places whose items have the same tag; the best of them stay.
            diversity: Above 0, up to 1: how much less a place counts for being similar to those before it.
            timeout: In seconds.

        A filtered answer has what passes of the cached lists, so it may have fewer than `n` places: `recommend_many`
        computes the others. If nothing passes, it has what passes of a list for all users; see `source`.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: `n` is below 1 or above the length of the lists, a user's id is invalid (`require_id`), or the
                filter is: it has up to 100 tags and 1,000 items.
            WaitTimeoutError: Redis did not answer in time.
        """
        wanted = filter_if_any(
            only=only, without=without, exclude=exclude, max_per_tag=max_per_tag, diversity=diversity
        )
        return await self._cached(users, n, wanted=wanted)

    async def _cached(
        self, users: Sequence[str], n: int | None, *, record: Record | None = None, wanted: Filter | None = None
    ) -> list[Answer]:
        """The cached lists in the generation of `record`, or the current one; see `get_many`."""
        require_ids("user", users)
        if wanted is not None:
            return await self._client.filtering.read(users, n, wanted, record)
        results = self._client.results
        if record is None:
            record, found = await results.read_current(users, self._to_read(n))
        else:
            found = await results.read_shown(record.generation, users, self._to_read(n))
        if self._client.rotates:
            found = await self._rotated(users, found)
        return await results.complete(users, found, places_wanted(n, record), record)

    @translates_redis_errors
    async def job(self, job: str, *, timeout: float | None = ASK_S) -> JobReport:
        """The state of a job.

        Raises:
            FlowUnknownError: the job does not exist, or has expired.
            UsageError: the job's id is invalid (`require_id`).
        """
        return await self._report(require_id("job", job))

    @translates_redis_errors
    async def cancel(self, job: str, *, timeout: float | None = ASK_S) -> bool:
        """Cancel a job or a run for all its callers, who are notified.

        Running tasks of the job stop within a third of a lease. A cancelled block counts as failed in its run. A
        cancelled run starts no more blocks, cancels the running ones, and does not go live.

        Returns:
            False if the job or run had already ended.

        Raises:
            FlowUnknownError: the job or run does not exist, or has expired.
        """
        require_id("job", job)
        [flow] = await self._client.flows.load_many([job])
        return await (self._client.flows.cancel(flow) if flow else self._cancel_run(job))

    async def _cancel_run(self, run_id: str) -> bool:
        more, under_way = await self._client.runs.curtail((await self.operator.run(run_id, timeout=None)).run)
        flows = await self._client.flows.load_many(under_way)
        return any([more, *[await self._client.flows.cancel(flow) for flow in flows if flow is not None]])


def _asked(users: Sequence[str], cached: Sequence[object], jobs: Iterator[str]) -> list[Enqueued]:
    """The answer for each user, up to the first without a list and without a job."""
    asked = []
    for user, result in zip(users, cached, strict=True):
        job = next(jobs, None) if result is None else None
        if result is None and job is None:
            break
        asked.append(Enqueued(user, job))
    return asked
