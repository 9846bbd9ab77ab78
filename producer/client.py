"""`Reckoner`: asks for recommendations from application code, waits for and reads them; without numpy or store."""

from collections.abc import AsyncIterator, Sequence
from typing import overload

from producer.answers import BasketAnswer, Compared, Enqueued, EnqueuedBasket, JobReport, Similar, UserHistory
from producer.calls import require_text, require_texts, told, within
from producer.operations import DEFAULT_N, Operations
from producer.questions import as_basket, require_places
from producer.waiting import patiently
from shared.errors import FlowFailedError, UsageError
from shared.flow_state import Flow
from shared.results import Answer
from shared.wire import Record


class Reckoner(Operations):
    """A connection to Ready Reckoner.

    Use it as an asynchronous context manager, within one event loop, for as many calls at a time as there are: they
    take two connections, one that asks and one that listens to what workers tell. (`max_connections` in the URL lets
    more of them ask at the same time.) On entry it raises RedisUnavailableError when Redis does not answer. Whoever is
    waiting when it is left gets a ClientClosedError.

    Every call raises RedisUnavailableError when Redis goes away while it asks, and bears with that for a minute while
    it waits; a call that is given a `timeout`, in seconds, raises WaitTimeoutError when that is over, and what it asked
    for goes on.
    """

    async def enqueue(self, user: str, *, fresh: bool = False) -> Enqueued:
        """Ask for a user's list, where there is none in the cache or it is to be `fresh`; see `enqueue_many`."""
        return (await self.enqueue_many([user], fresh=fresh))[0]

    @told
    async def enqueue_many(
        self, users: Sequence[str], *, fresh: bool = False, generation: str | None = None
    ) -> list[Enqueued]:
        """Ask for lists for `users`: for those who have none in the cache, or for all when `fresh`.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: a user's id cannot be written as UTF-8.
        """
        require_texts("user", users)
        generation = generation or await self.generation()
        cached = [None] * len(users) if fresh else await self.results.read(generation, users)
        wanted = [user for user, result in zip(users, cached, strict=True) if result is None]
        jobs = iter(await self._asking.create(wanted, generation))
        return [Enqueued(u, next(jobs) if r is None else None) for u, r in zip(users, cached, strict=True)]

    async def recommend(
        self, user: str, n: int | None = None, *, timeout: float | None = None, fresh: bool = False
    ) -> Answer:
        """The first `n` places of a user's list; where it is not in the cache, the workers compute it meanwhile.

        Who is not in the data, or has nothing to go by, gets the popular list; `source` says so. See `reach` for `n`.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or the user's id cannot be written as UTF-8.
            FlowFailedError: the job failed; the sentence says why.
            WaitTimeoutError: the list was not there in time; the job goes on.
        """
        return (await self.recommend_many([user], n, timeout=timeout, fresh=fresh))[0]

    async def recommend_many(
        self, users: Sequence[str], n: int | None = None, *, timeout: float | None = None, fresh: bool = False
    ) -> list[Answer]:
        """The first `n` places of users' lists, which the workers compute where they are not in the cache.

        Raises:
            FlowFailedError: a job failed; for the rest see `recommend`.
        """
        require_texts("user", users)
        async with within(timeout):
            answers, failed = await self.computed(users, n, fresh=fresh)
        for user, reason in failed.items():
            raise FlowFailedError(f"The job for user {user} failed: {reason}.", failed=failed)
        return answers

    @told
    async def computed(
        self, users: Sequence[str], n: int | None = None, *, fresh: bool = False, record: Record | None = None
    ) -> tuple[list[Answer], dict[str, str]]:
        """The lists of `recommend_many`, without those of the users whose job failed, and these with the reason.

        It reads the generation of `record`, or the current one.
        """
        if record is None or n is None:
            record, n = await self.reach(n)
        results = [None] * len(users) if fresh else await self.results.read(record.generation, users)
        found = dict(zip(users, results, strict=True))
        missing = [user for user, result in found.items() if result is None]
        failed: dict[str, str] = {}
        if missing:
            failed = await self._asking.lists(missing, record.generation, fresh=fresh)
            found |= zip(missing, await patiently(lambda: self.results.read(record.generation, missing)), strict=True)
        well = [user for user in users if user not in failed]
        return await self.results.complete(well, [found[user] for user in well], n, record), failed

    @told
    async def recommend_for(
        self, items: Sequence[str], n: int | None = None, *, timeout: float | None = None
    ) -> BasketAnswer:
        """The first `n` places of the list for a basket: for somebody of whom nothing is known but these items.

        The workers compute it where it is not in the cache. A basket that leads to nothing gets the popular list.

        Raises:
            UsageError: they are one text and not several, are too many or too long, or one of them cannot be an id.
            FlowFailedError: the job failed; for the rest see `recommend`.
        """
        basket = as_basket(items)
        async with within(timeout):
            record, n = await self.reach(n)
            return await self._questions.basket(basket, n, record)

    @told
    async def enqueue_for(self, items: Sequence[str]) -> EnqueuedBasket:
        """Ask for the list for a basket, where there is none in the cache; see `recommend_for`.

        Raises:
            UsageError: the basket is empty, too; an empty one has the popular list.
        """
        basket = as_basket(items)
        if not basket:
            raise UsageError("The basket is empty, and nothing is computed for an empty one.")
        generation = await self.generation()
        cached = await self.results.read_basket(generation, basket)
        return EnqueuedBasket(basket, None if cached else await self._asking.create_basket(basket, generation))

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
            UsageError: `n` is below 1 or over 1,000, or an id cannot be written as UTF-8.
            ItemUnknownError: an item is not in the data.
            FlowFailedError: the question could not be answered; the sentence says why.
            WaitTimeoutError: the answer was not there in time.
        """
        require_texts("item", [item] if other is None else [item, other])
        require_places(n)
        async with within(timeout):
            return await (self._neighbours(item, n) if other is None else self._compared(item, other))

    @told
    async def _neighbours(self, item: str, n: int) -> Similar:
        record, _ = await self.reach()
        return await self._questions.neighbours(item, n, record)

    @told
    async def _compared(self, item: str, other: str) -> Compared:
        record, _ = await self.reach()
        return await self._questions.pair(item, other, record)

    @told
    async def history(self, user: str, n: int = DEFAULT_N, *, timeout: float | None = None) -> UserHistory:
        """The first `n` of what a user has had, the newest first where the data have times.

        Raises:
            UserUnknownError: the user is not in the data; for the rest see `similar`.
        """
        require_text("user", user)
        require_places(n)
        async with within(timeout):
            record, _ = await self.reach()
            return await self._questions.history(user, n, record)

    async def wait(
        self, jobs: Sequence[str], *, timeout: float | None = None
    ) -> AsyncIterator[tuple[str, Flow | None]]:
        """Yield each job with its flow as it ends, None for one that is not known (any more).

        Raises:
            WaitTimeoutError: some had not ended in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: they are one text and not several.
        """
        require_texts("job", jobs)
        async for ended in self._waiting.ends(jobs, timeout):
            yield ended

    async def get(self, user: str, n: int | None = None) -> Answer:
        """A user's cached list, or the popular one; see `get_many`."""
        return (await self.get_many([user], n))[0]

    @told
    async def get_many(self, users: Sequence[str], n: int | None = None) -> list[Answer]:
        """The cached lists, with the popular list for users who have none; see `reach`. It asks for nothing.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or a user's id cannot be written as UTF-8.
        """
        require_texts("user", users)
        record, n = await self.reach(n)
        return await self.results.answer(users, n, record)

    @told
    async def job(self, job: str) -> JobReport:
        """A job as it is now.

        Raises:
            FlowUnknownError: there is no such job, or it is forgotten.
        """
        return await self._report(job)
