"""`Reckoner`: asks for recommendations from application code, waits for and reads them; without numpy or store."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import overload

from reckoner.producer.client.answers import (
    BasketAnswer,
    Compared,
    Enqueued,
    EnqueuedBasket,
    JobReport,
    Similar,
    UserHistory,
)
from reckoner.producer.client.asking import no_good_end
from reckoner.producer.client.calls import (
    ASK_S,
    moment_after,
    require_ids,
    require_lane,
    translates_redis_errors,
    until,
    within,
)
from reckoner.producer.client.connection import Client
from reckoner.producer.client.operator import Operator
from reckoner.producer.client.questions import as_basket, require_places
from reckoner.producer.client.waiting import patiently
from reckoner.shared.defaults import MAX_QUEUED
from reckoner.shared.errors import FlowUnknownError, QueueFullError, UsageError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.ids import require_id
from reckoner.shared.serving.results import Answer
from reckoner.shared.wire.shapes import Lane, Record

# Places of a list where none are asked for.
DEFAULT_N = 10


class Reckoner(Client):
    """A connection to Ready Reckoner.

    Use it as an asynchronous context manager, within one event loop, for as many calls at a time as there are: they
    take two connections, one that asks and one that listens to what workers tell. (`max_connections` in the URL lets
    more of them ask at the same time.) On entry it raises RedisUnavailableError when Redis does not answer. Whoever is
    waiting when it is left gets a ClientClosedError.

    A call that waits puts its job on the click lane, which goes before the batch lane; `enqueue` and its like use the
    batch lane. A call that waits for a job on the batch lane moves the job to the click lane. A lane that holds
    `max_queued` jobs refuses more with a QueueFullError; None is no limit.

    A call raises RedisUnavailableError when Redis goes away while it asks; a call that waits bears with that for a
    minute. Every call takes a `timeout` in seconds and raises WaitTimeoutError when that is over, whatever Redis or the
    network does; its job goes on. A call that only asks Redis has ten seconds by default. A call that waits for workers
    or for jobs has no limit by default. A timeout of None is no limit.

    Without being entered, as by `contextlib.aclosing(Reckoner(url))`, it connects with the first call. A call from
    another event loop than that of the first call raises WrongLoopError.

    `operator` has the calls of operators: fits, runs, status, lanes, workers.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reckoner",
        first_look_s: float = 10.0,
        max_queued: int | None = MAX_QUEUED,
    ) -> None:
        super().__init__(url, prefix=prefix, first_look_s=first_look_s, max_queued=max_queued)
        self.operator = Operator(self)
        # The last one that was read: a record never changes.
        self._record: Record | None = None

    @translates_redis_errors
    async def generation(self, *, timeout: float | None = ASK_S) -> str:
        """The generation that is current.

        Raises:
            NothingFittedError: there is none yet.
        """
        return (await self._current()).generation

    async def _current(self) -> Record:
        record = self._record
        if record is None or record.generation != await self.results.generations.pointer(self.keys.current):
            record = self._record = (await self.results.generations.follow(self.keys.current)).require()
        return record

    @translates_redis_errors
    async def reach(self, n: int | None = None, *, timeout: float | None = ASK_S) -> tuple[Record, int]:
        """The current generation, and how many places its readers get: `n`, or ten where its lists have as many.

        Raises:
            NothingFittedError: there is no generation yet, or its record is gone.
            UsageError: its lists have fewer than `n` places.
        """
        record = await self._current()
        length = record.options.list_length
        if n is not None and not 1 <= n <= length:
            raise UsageError(
                f"n is {n}, and has to be from 1 to {length}, the length of the cached lists; for longer ones set "
                "RECKONER_LIST_LENGTH and fit again."
            )
        return record, min(DEFAULT_N, length) if n is None else n

    async def _report(self, job: str) -> JobReport:
        flow = await self.flows.load(job)
        if flow is None:
            raise FlowUnknownError
        traces = await self.flows.traces(job)
        return JobReport(flow, flow.tasks if flow.state == "done" else await self.flows.stored(job), traces)

    async def follow(self, job: str, *, timeout: float | None = None) -> AsyncIterator[JobReport]:
        """Yield a job as it is, once a second and at its end, until it has ended; the last report is that of its end.

        Raises:
            FlowUnknownError: there is no such job (any more).
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: the job's id is refused (`require_id`).
            WaitTimeoutError: it had not ended in time.
        """
        self.require_own_loop()
        moment = moment_after(timeout)
        async with self.waiting.hearing(require_id("job", job)) as hear:
            while True:
                async with until(moment):
                    await hear()
                    report = await patiently(lambda: self._report(job))
                yield report
                if report.flow.ended:
                    return

    async def enqueue(
        self, user: str, *, fresh: bool = False, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> Enqueued:
        """Ask for a user's list, where there is none in the cache or it is to be `fresh`; see `enqueue_many`."""
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
        """Ask for lists for `users`: for those who have none in the cache, or for all when `fresh`.

        There is no default timeout: the time grows with the number of users.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: a user's id is refused (`require_id`), or there is no such lane.
            QueueFullError: the lane takes no more; `taken` has what became of the users before the first whom it would
                not take, and the others can be asked for later.
        """
        require_lane(lane)
        require_ids("user", users)
        generation = generation or await self.generation(timeout=None)
        cached = [None] * len(users) if fresh else await self.results.read(generation, users)
        wanted = [user for user, result in zip(users, cached, strict=True) if result is None]
        full: QueueFullError | None = None
        try:
            jobs = iter(await self.asking.create(wanted, generation, lane))
        except QueueFullError as error:
            jobs, full = iter(error.taken), error
        asked = _asked(users, cached, jobs)
        if full:
            raise QueueFullError(full.queued, full.most, len(users), asked) from full
        return asked

    async def recommend(
        self, user: str, n: int | None = None, *, timeout: float | None = None, fresh: bool = False
    ) -> Answer:
        """The first `n` places of a user's list; where it is not in the cache, the workers compute it meanwhile.

        Who is not in the data, or has nothing to go by, gets the popular list; `source` says so. See `reach` for `n`.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or the user's id is refused (`require_id`).
            FlowFailedError: the job failed; the sentence says why.
            FlowCancelledError: somebody has cancelled it.
            QueueFullError: the click lane takes no more.
            WaitTimeoutError: the list was not there in time; the job goes on.
        """
        return (await self.recommend_many([user], n, timeout=timeout, fresh=fresh))[0]

    @translates_redis_errors
    async def recommend_many(
        self, users: Sequence[str], n: int | None = None, *, timeout: float | None = None, fresh: bool = False
    ) -> list[Answer]:
        """The first `n` places of users' lists, which the workers compute where they are not in the cache.

        Raises:
            FlowFailedError: a job failed; for the rest see `recommend`.
            FlowCancelledError: one was cancelled.
        """
        answers, failed = await self.computed(users, n, fresh=fresh)
        for user, flow in failed.items():
            raise no_good_end(f"The job for user {user}", flow)
        return answers

    @translates_redis_errors
    async def computed(
        self, users: Sequence[str], n: int | None = None, *, fresh: bool = False, record: Record | None = None
    ) -> tuple[list[Answer], dict[str, Flow | None]]:
        """The lists of `recommend_many`, where jobs may fail; of the generation of `record`, or of the current one.

        Returns:
            The lists of the users whose jobs ended well; and each other user with the flow of the job, None where Redis
            lost the job.
        """
        require_ids("user", users)
        if record is None or n is None:
            record, n = await self.reach(n, timeout=None)
        results = [None] * len(users) if fresh else await self.results.read(record.generation, users)
        found = dict(zip(users, results, strict=True))
        missing = [user for user, result in found.items() if result is None]
        failed: dict[str, Flow | None] = {}
        if missing:
            computed, failed = await self.asking.lists(missing, record.generation, fresh=fresh)
            found |= computed
        well = [user for user in users if user not in failed]
        return await self.results.complete(well, [found[user] for user in well], n, record), failed

    @translates_redis_errors
    async def recommend_for(
        self, items: Sequence[str], n: int | None = None, *, timeout: float | None = None
    ) -> BasketAnswer:
        """The first `n` places of the list for a basket: for somebody of whom nothing is known but these items.

        The workers compute it where it is not in the cache. A basket that leads to nothing gets the popular list.

        Raises:
            UsageError: they are one text and not several, are too many or too long, or one of them cannot be an id.
            FlowFailedError: the job failed, or was cancelled; for the rest see `recommend`.
        """
        basket = as_basket(items)
        record, n = await self.reach(n, timeout=None)
        return await self.questions.basket(basket, n, record)

    @translates_redis_errors
    async def enqueue_for(
        self, items: Sequence[str], *, lane: Lane = "batch", timeout: float | None = ASK_S
    ) -> EnqueuedBasket:
        """Ask for the list for a basket, where there is none in the cache; see `recommend_for`.

        Raises:
            UsageError: the basket is empty, too; an empty one has the popular list.
            QueueFullError: the lane takes no more.
        """
        require_lane(lane)
        basket = as_basket(items)
        if not basket:
            raise UsageError("The basket is empty, and nothing is computed for an empty one.")
        generation = await self.generation(timeout=None)
        cached = await self.results.read_basket(generation, basket)
        return EnqueuedBasket(basket, None if cached else await self.asking.create_basket(basket, generation, lane))

    @overload
    async def similar(self, item: str, n: int = ..., *, timeout: float | None = ...) -> Similar: ...
    @overload
    async def similar(self, item: str, n: int = ..., *, other: str, timeout: float | None = ...) -> Compared: ...
    async def similar(
        self, item: str, n: int = DEFAULT_N, *, other: str | None = None, timeout: float | None = None
    ) -> Similar | Compared:
        """An item's first `n` neighbours in the current generation's model, or how similar it is to one `other` item.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: `n` is below 1 or over 1,000, or an id is refused (`require_id`).
            ItemUnknownError: an item is not in the data.
            FlowFailedError: the question could not be answered, or was cancelled; the sentence says why.
            WaitTimeoutError: the answer was not there in time.
        """
        require_ids("item", [item] if other is None else [item, other])
        require_places(n)
        async with within(timeout):
            return await (self._neighbours(item, n) if other is None else self._compared(item, other))

    @translates_redis_errors
    async def _neighbours(self, item: str, n: int) -> Similar:
        record, _ = await self.reach(timeout=None)
        return await self.questions.neighbours(item, n, record)

    @translates_redis_errors
    async def _compared(self, item: str, other: str) -> Compared:
        record, _ = await self.reach(timeout=None)
        return await self.questions.pair(item, other, record)

    @translates_redis_errors
    async def history(self, user: str, n: int = DEFAULT_N, *, timeout: float | None = None) -> UserHistory:
        """The first `n` of what a user has had, the newest first where the data have times.

        Raises:
            UserUnknownError: the user is not in the data; for the rest see `similar`.
        """
        require_id("user", user)
        require_places(n)
        record, _ = await self.reach(timeout=None)
        return await self.questions.history(user, n, record)

    async def wait(
        self, jobs: Sequence[str], *, timeout: float | None = None
    ) -> AsyncIterator[tuple[str, Flow | None]]:
        """Yield each job with its flow as it ends, None for one that is not known (any more).

        Raises:
            WaitTimeoutError: some had not ended in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: they are one text and not several, or an id is refused (`require_id`).
        """
        self.require_own_loop()
        require_ids("job", jobs)
        async for ended in self.waiting.ends(jobs, timeout):
            yield ended

    async def get(self, user: str, n: int | None = None, *, timeout: float | None = ASK_S) -> Answer:
        """A user's cached list, or the popular one; see `get_many`."""
        return (await self.get_many([user], n, timeout=timeout))[0]

    @translates_redis_errors
    async def get_many(
        self, users: Sequence[str], n: int | None = None, *, timeout: float | None = ASK_S
    ) -> list[Answer]:
        """The cached lists, with the popular list for users who have none; see `reach`. It asks for nothing.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or a user's id is refused (`require_id`).
            WaitTimeoutError: Redis did not answer in time.
        """
        require_ids("user", users)
        record, n = await self.reach(n, timeout=None)
        return await self.results.answer(users, n, record)

    @translates_redis_errors
    async def job(self, job: str, *, timeout: float | None = ASK_S) -> JobReport:
        """A job as it is now.

        Raises:
            FlowUnknownError: there is no such job, or it is forgotten.
            UsageError: the job's id is refused (`require_id`).
        """
        return await self._report(require_id("job", job))

    @translates_redis_errors
    async def cancel(self, job: str, *, timeout: float | None = ASK_S) -> bool:
        """End a job for all who wait for it; they are told. What of it runs ends within a third of a lease.

        A cancelled block of a run counts as failed there. With the id of a run no more of its blocks begin, those under
        way are cancelled, and it is judged: readers stay with the generation that they have.

        Returns:
            Whether there was something to cancel: False when it had ended before.

        Raises:
            FlowUnknownError: there is no such job or run, or it is forgotten.
        """
        require_id("job", job)
        [flow] = await self.flows.load_many([job])
        return await (self.flows.cancel(flow) if flow else self._cancel_run(job))

    async def _cancel_run(self, run_id: str) -> bool:
        more, under_way = await self.runs.curtail((await self.operator.run(run_id, timeout=None)).run)
        flows = await self.flows.load_many(under_way)
        return any([more, *[await self.flows.cancel(flow) for flow in flows if flow is not None]])


def _asked(users: Sequence[str], cached: Sequence[object], jobs: Iterator[str]) -> list[Enqueued]:
    """What was asked for each user, up to the first who has no list and for whom no job is left."""
    asked = []
    for user, result in zip(users, cached, strict=True):
        job = next(jobs, None) if result is None else None
        if result is None and job is None:
            break
        asked.append(Enqueued(user, job))
    return asked
