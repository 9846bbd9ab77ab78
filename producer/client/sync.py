"""`SyncReckoner`, made from `Reckoner` by `make sync`: do not edit it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property, partial
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
from reckoner.producer.client.background import Background
from reckoner.producer.client.calls import ASK_S, DEFAULT_N
from reckoner.producer.client.reckoner import BUILT_IN_TYPES, Reckoner
from reckoner.producer.client.recording import Event, Recorded
from reckoner.producer.client.sync_catalogue import SyncCatalogue
from reckoner.producer.client.sync_operator import SyncOperator
from reckoner.shared.defaults import MAX_EVENTS, MAX_QUEUED
from reckoner.shared.event_types import EventTypes
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.list_names import POPULAR
from reckoner.shared.serving.impressions import Rotation
from reckoner.shared.serving.results import Answer
from reckoner.shared.wire.shapes import Lane


class SyncReckoner:
    """`Reckoner` for code that is not asynchronous: each call blocks until its answer is there.

    Any number of threads share one. Its connections belong to an event loop in a thread of its own, one for all clients
    of a process. A process that is forked, as by gunicorn or Celery, connects anew with its first call. An interrupted
    call, as by KeyboardInterrupt, is cancelled, and the client goes on.

    Use it as a context manager, which raises RedisUnavailableError if Redis does not answer; or without, and it
    connects with the first call. `close` ends waiting calls with a ClientClosedError. Its arguments, timeouts and
    errors are those of `Reckoner`. `catalogue` has the calls about items, `operator` those of operators.
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
        self._background = Background(
            partial(
                Reckoner,
                url,
                prefix=prefix,
                first_look_s=first_look_s,
                max_queued=max_queued,
                fallback=fallback,
                event_types=event_types,
                max_events=max_events,
                rotation=rotation,
            )
        )

    def __enter__(self) -> Self:
        self._background.run(lambda client: client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._background.close()

    @cached_property
    def catalogue(self) -> SyncCatalogue:
        """The calls of whoever keeps the items: hides them from everybody, and changes their tags."""
        return SyncCatalogue(self._background)

    @cached_property
    def operator(self) -> SyncOperator:
        """The calls of operators: fits, runs, status, lanes, workers."""
        return SyncOperator(self._background)

    def generation(self, *, timeout: float | None = ASK_S) -> str:
        """The id of the current generation, read anew; the calls that follow use it.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return self._background.run(lambda client: client.generation(timeout=timeout))

    def follow(self, job: str, *, timeout: float | None = None) -> Iterator[JobReport]:
        """Yield the state of a job once a second and at its end.

        Raises:
            FlowUnknownError: the job does not exist, or has expired.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: the job's id is invalid (`require_id`).
            WaitTimeoutError: the job did not end in time.
        """
        return self._background.iterate(lambda client: client.follow(job, timeout=timeout))

    def enqueue(
        self, user: str, *, fresh: bool = False, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> Enqueued:
        """Enqueue a job for a user's list if it is not cached, or always if `fresh`; see `enqueue_many`."""
        return self._background.run(lambda client: client.enqueue(user, fresh=fresh, lane=lane, timeout=timeout))

    def enqueue_many(
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
        return self._background.run(
            lambda client: client.enqueue_many(users, fresh=fresh, lane=lane, generation=generation, timeout=timeout)
        )

    def recommend(
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
        return self._background.run(
            lambda client: client.recommend(
                user,
                n,
                only=only,
                without=without,
                exclude=exclude,
                max_per_tag=max_per_tag,
                diversity=diversity,
                timeout=timeout,
                fresh=fresh,
            )
        )

    def recommend_many(
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
        return self._background.run(
            lambda client: client.recommend_many(
                users,
                n,
                only=only,
                without=without,
                exclude=exclude,
                max_per_tag=max_per_tag,
                diversity=diversity,
                timeout=timeout,
                fresh=fresh,
            )
        )

    def impressions(self, user: str, *, timeout: float | None = ASK_S) -> dict[str, float]:
        """How often items were shown to a user, as it counts for the rotation now.

        Raises:
            UsageError: the user's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.impressions(user, timeout=timeout))

    def recommend_for(
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
        return self._background.run(
            lambda client: client.recommend_for(
                items,
                n,
                only=only,
                without=without,
                exclude=exclude,
                max_per_tag=max_per_tag,
                diversity=diversity,
                timeout=timeout,
            )
        )

    def enqueue_for(
        self, items: Sequence[str], *, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> EnqueuedBasket:
        """Enqueue a job for a basket's list if it is not cached; see `recommend_for`.

        Raises:
            UsageError: the basket is empty or invalid, or the lane does not exist.
            QueueFullError: the lane is full.
        """
        return self._background.run(lambda client: client.enqueue_for(items, lane=lane, timeout=timeout))

    @overload
    def similar(self, item: str, n: int = ..., *, timeout: float | None = ...) -> Similar: ...

    @overload
    def similar(self, item: str, n: int = ..., *, other: str, timeout: float | None = ...) -> Compared: ...

    @overload
    def similar(
        self, item: str, n: int = ..., *, other: str | None, timeout: float | None = ...
    ) -> Similar | Compared: ...

    def similar(
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
        return self._background.run(lambda client: client.similar(item, n, other=other, timeout=timeout))

    def history(self, user: str, n: int = DEFAULT_N, *, timeout: float | None = None) -> UserHistory:
        """The first `n` interactions of a user's history, newest first if the data have times.

        Raises:
            UserUnknownError: the user is not in the data; see `similar` for other errors.
        """
        return self._background.run(lambda client: client.history(user, n, timeout=timeout))

    def named_list(self, name: str, n: int | None = None, *, timeout: float | None = ASK_S) -> NamedList:
        """The first `n` places of a list that is the same for all users, such as `latest` or `trending:shoes`.

        Raises:
            NothingFittedError: no model was fitted yet.
            ListUnknownError: there is no such list.
            UsageError: `n` is below 1 or above the length of the lists, or the name is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.named_list(name, n, timeout=timeout))

    def list_names(self, *, timeout: float | None = ASK_S) -> Sequence[str]:
        """The names of the lists that are the same for all users, sorted."""
        return self._background.run(lambda client: client.list_names(timeout=timeout))

    def record(
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
        return self._background.run(
            lambda client: client.record(user, item, type=type, weight=weight, time=time, id=id, timeout=timeout)
        )

    def record_many(self, events: Sequence[Event], *, timeout: float | None = None) -> list[Recorded]:
        """Record events; returns what became of each. Those that are refused are answered with the reason.

        A recorded event is in Redis. The next read leaves out what the user has just had, and a job for the user's list
        is made unless one is under way. There is no default timeout, since the time grows with the number of events.
        """
        return self._background.run(lambda client: client.record_many(events, timeout=timeout))

    def recent(self, user: str, *, timeout: float | None = ASK_S) -> list[RecentEvent]:
        """The recorded events of a user that the snapshot of the live lists does not hold, in the order of recording.

        Lists count them beside the user's `history`.
        """
        return self._background.run(lambda client: client.recent(user, timeout=timeout))

    def merge(self, visitor: str, user: str, *, timeout: float | None = ASK_S) -> int:
        """Move what a visitor did, and hid, to a user, as at a login; returns the number of events.

        Events that an import has taken stay the visitor's.

        Raises:
            HistoryTooLongError: either would have, or has, too many events since the last import; nothing was moved.
            UsageError: an id is invalid (`require_id`), or both are the same.
        """
        return self._background.run(lambda client: client.merge(visitor, user, timeout=timeout))

    def hide(self, user: str, *items: str, timeout: float | None = ASK_S) -> int:
        """Hide items from a user, who is not interested in them; returns how many were not hidden before.

        The next read leaves them out, and lists are computed without them until `unhide`.

        Raises:
            HistoryTooLongError: the user would hide over 1,000 items; nothing was changed.
            UsageError: an id is invalid (`require_id`), or there are too many items.
        """
        return self._background.run(lambda client: client.hide(user, *items, timeout=timeout))

    def unhide(self, user: str, *items: str, timeout: float | None = ASK_S) -> int:
        """Undo `hide`; returns how many of the items were hidden. A recorded dislike stays.

        Raises:
            UsageError: an id is invalid (`require_id`), or there are too many items.
        """
        return self._background.run(lambda client: client.unhide(user, *items, timeout=timeout))

    def hidden_for(self, user: str, *, timeout: float | None = ASK_S) -> list[str]:
        """The items that are hidden from a user by `hide`, in the order of their bytes."""
        return self._background.run(lambda client: client.hidden_for(user, timeout=timeout))

    def wait(self, jobs: Sequence[str], *, timeout: float | None = None) -> Iterator[tuple[str, Flow | None]]:
        """Yield each job with its flow when it ends; the flow is None for an unknown or expired job.

        Raises:
            WaitTimeoutError: some did not end in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: `jobs` is a single string, or an id is invalid (`require_id`).
        """
        return self._background.iterate(lambda client: client.wait(jobs, timeout=timeout))

    def get(
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
        return self._background.run(
            lambda client: client.get(
                user,
                n,
                only=only,
                without=without,
                exclude=exclude,
                max_per_tag=max_per_tag,
                diversity=diversity,
                timeout=timeout,
            )
        )

    def get_many(
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
        return self._background.run(
            lambda client: client.get_many(
                users,
                n,
                only=only,
                without=without,
                exclude=exclude,
                max_per_tag=max_per_tag,
                diversity=diversity,
                timeout=timeout,
            )
        )

    def job(self, job: str, *, timeout: float | None = ASK_S) -> JobReport:
        """The state of a job.

        Raises:
            FlowUnknownError: the job does not exist, or has expired.
            UsageError: the job's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.job(job, timeout=timeout))

    def cancel(self, job: str, *, timeout: float | None = ASK_S) -> bool:
        """Cancel a job or a run for all its callers, who are notified.

        Running tasks of the job stop within a third of a lease. A cancelled block counts as failed in its run. A
        cancelled run starts no more blocks, cancels the running ones, and does not go live.

        Returns:
            False if the job or run had already ended.

        Raises:
            FlowUnknownError: the job or run does not exist, or has expired.
        """
        return self._background.run(lambda client: client.cancel(job, timeout=timeout))
