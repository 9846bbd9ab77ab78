"""The load of a system under faults, drawn with a seed. Every answer is checked when it arrives."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Self, TypeVar

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.producer.client.waiting import retry_while_away
from reckoner.shared.errors import FlowFailedError, FlowUnknownError, NothingFittedError, RedisUnavailableError
from reckoner.shared.serving.generations import base_of, generation_id
from reckoner.shared.serving.results import Results
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.wire.shapes import Options
from tests.plain_model import PlainUser, plain_users
from tests.proxies import Proxy
from tests.system import System

if TYPE_CHECKING:
    from tests.truth import Truth

T = TypeVar("T")

# K of each generation. The system starts with the first.
NEIGHBOURS = (100, 20, 5)
CLICKERS = 3
CALLS_AT_ONCE = 4
MEAN_PAUSE_S = 0.02
KNOCK_S = 0.1
BLOCK_SIZES, WINDOWS = (1, 4, 13, 60), (1, 3, 6, None)
STRANGERS = ("nobody", "üser 999")
VISITORS = ("a visitor", "zz: another")
# Users who do something while the system runs, beside the visitors.
SHOPPERS = 8
EVENT_TYPES = ("purchase", "view", "dislike")
UNFITTED = "asked again since there was no generation"


class Truths:
    """The correct answers of each generation of the current snapshot."""

    def __init__(self, system: System) -> None:
        snapshot = system.store.current_snapshot()
        assert snapshot is not None
        self.snapshot, self._length, self._spare = snapshot, system.settings.list_length, system.settings.spare
        self.configs = [ModelConfig(neighbours=neighbours) for neighbours in NEIGHBOURS]
        ids = [generation_id(model_id(snapshot, config), Options(self._length), self._spare) for config in self.configs]
        self._truths: Mapping[str, Truth] = dict(zip(ids, map(system.truth, NEIGHBOURS), strict=True))
        self.lists = {generation: truth.lists(generation) for generation, truth in self._truths.items()}
        self.users = sorted(self.lists[ids[0]])
        self.shoppers = [*self.users[-SHOPPERS:], *VISITORS]
        """Whose lists change: see `list_of`."""
        self.steady = self.users[:-SHOPPERS]
        """The others."""
        self.counted = plain_users(open_snapshot(system.store.fetch("snapshots", snapshot)))
        """What counts for the users without events."""
        self._bases = {generation: generation for generation in ids}
        self.items = self._truths[ids[0]].items
        self.baskets: dict[tuple[str, ...], None] = {}
        """All requested baskets."""

    @property
    def generations(self) -> list[str]:
        """Their ids."""
        return list(self._truths)

    async def base(self, results: Results, generation: str) -> str:
        """The generation of the same model whose lists count no events; empty without a record."""
        if generation not in self._bases:
            record = await retry_while_away(lambda: results.generations.record(generation))
            if record is None:
                return ""
            self._bases[generation] = base_of(record)
        return self._bases[generation]

    def list_of(self, base: str, user: PlainUser) -> bytes:
        """The cached bytes of a user by what counts now."""
        return self._truths[base].list_of(user)

    def basket(self, generation: str, items: Sequence[str]) -> bytes:
        """The cached bytes of a basket."""
        return self._truths[generation].basket(generation, items)

    def neighbours(self, generation: str, item: str) -> list[tuple[str, float]]:
        """An item's neighbours."""
        return self._truths[generation].neighbours(item)


class Caller:
    """A client that makes one call after another, and retries while Redis is unavailable."""

    def __init__(self, reckoner: OpenReckoner, counts: Counter[str]) -> None:
        self.reckoner = reckoner
        self._counts = counts

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """The call's answer, with retries. None if the job failed, which is counted."""
        while True:
            try:
                answer = await call()
            except RedisUnavailableError:
                self._counts["asked again since Redis was away"] += 1
                await asyncio.sleep(KNOCK_S)
            except NothingFittedError:
                self._counts[UNFITTED] += 1
                await asyncio.sleep(KNOCK_S)
            except (FlowFailedError, FlowUnknownError) as error:
                self._counts[f"calls that ended with {type(error).__name__}"] += 1
                return None
            else:
                self._counts["calls answered"] += 1
                return answer


class Load:
    """Clients that request lists and baskets, ask, enqueue, and start runs, until the end."""

    def __init__(self, system: System, truths: Truths, seed: int, counts: Counter[str]) -> None:
        self._system, self._truths, self._seed, self._counts = system, truths, seed, counts
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._open = asyncio.Event()
        self._busy = 0
        self.proxies: list[Proxy] = []
        self.asked: set[str] = set()
        """Jobs without a waiting caller."""
        self.recorded: dict[int, tuple[str, str, str]] = {}
        """The acknowledged events: user, item and type by their time, of which each has another one."""
        self.hides: set[tuple[str, str]] = set()
        """The acknowledged pairs of user and item that is hidden from them."""
        self._times = count(1)
        self.runs: set[str] = set()
        self.fitted: set[str] = set()
        """Generations fitted since the last check: their lists may have been deleted before."""

    async def __aenter__(self) -> Self:
        callers = [await self._caller() for _ in range(CLICKERS + 1)]
        self.operator = callers.pop()
        clickers = [
            self._click(caller, Random(f"{self._seed} clicker {number}"))
            for number, caller in enumerate(callers * CALLS_AT_ONCE)
        ]
        runner = self._run(Random(f"{self._seed} runner"))
        self._tasks = [asyncio.create_task(task) for task in (*clickers, runner)]
        return self

    async def __aexit__(self, *raised: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    async def _caller(self) -> Caller:
        system = self._system
        proxy = await self._stack.enter_async_context(Proxy(system.server.url))
        self.proxies.append(proxy)
        client = OpenReckoner(proxy.url, prefix=system.settings.prefix, first_look_s=system.settings.first_look_s)
        return Caller(await self._stack.enter_async_context(client), self._counts)

    def go_on(self) -> None:
        """Start, or continue after a pause."""
        self._open.set()

    async def pause(self) -> None:
        """Make no new calls, and wait for all answers.

        Raises:
            AssertionError: an answer was wrong.
        """
        self._open.clear()
        while self._busy:
            self.look()
            await asyncio.sleep(0.01)
        self.look()

    def look(self) -> None:
        """Raise the error of a client that has ended."""
        for task in self._tasks:
            if task.done():
                task.result()

    @property
    def busy(self) -> int:
        """How many calls wait for their answer."""
        return self._busy

    async def _turn(self, rng: Random, mean_pause_s: float) -> None:
        self._busy -= 1
        await asyncio.sleep(rng.expovariate(1 / mean_pause_s))
        await self._open.wait()
        self._busy += 1

    async def _click(self, caller: Caller, rng: Random) -> None:
        kinds = (self._users, self._basket, self._similar, self._enqueue, self._shop, self._hide)
        self._busy += 1
        while True:
            await self._turn(rng, MEAN_PAUSE_S)
            [kind] = rng.choices(kinds, (5, 2, 1, 2, 2, 1))
            await kind(caller, rng)

    async def _users(self, caller: Caller, rng: Random) -> None:
        users = rng.sample([*self._truths.steady, *STRANGERS], rng.choice((1, 1, 1, 5)))
        length = self._system.settings.list_length
        answers = await caller.insist(lambda: caller.reckoner.recommend_many(users, length, fresh=True))
        for user, answer in zip(users, answers or [], strict=bool(answers)):
            if base := await self._truths.base(caller.reckoner.results, answer.generation):
                self._compare(self._truths.lists[base].get(user, b'{"items":[]}'), answer)

    async def _basket(self, caller: Caller, rng: Random) -> None:
        items = sorted(rng.sample([*self._truths.items, *STRANGERS], rng.randint(1, 4)), key=str.encode)
        self._truths.baskets[tuple(items)] = None
        length = self._system.settings.list_length
        answer = await caller.insist(lambda: caller.reckoner.recommend_for(items, length))
        if answer and (base := await self._truths.base(caller.reckoner.results, answer.generation)):
            self._compare(self._truths.basket(base, items), answer)

    def _compare(self, expected: bytes, answer: Any) -> None:
        places = json.loads(expected)["items"][: self._system.settings.list_length]
        assert answer.source == ("cache" if places else "popular"), answer
        if places:
            found = [[e.item, e.score, e.because] for e in answer.items]
            assert found == places, (answer, places)

    async def _similar(self, caller: Caller, rng: Random) -> None:
        item, n = rng.choice(self._truths.items), rng.randint(1, 10)
        answer = await caller.insist(lambda: caller.reckoner.similar(item, n))
        if answer and (base := await self._truths.base(caller.reckoner.results, answer.generation)):
            found = [(neighbour.item, neighbour.similarity) for neighbour in answer.items]
            assert found == self._truths.neighbours(base, item)[:n], answer

    async def _enqueue(self, caller: Caller, rng: Random) -> None:
        users = rng.sample(self._truths.users, rng.randint(1, 20))
        entries = await caller.insist(lambda: caller.reckoner.enqueue_many(users, fresh=True))
        self.asked.update(entry.job for entry in entries or () if entry.job)

    async def _shop(self, caller: Caller, rng: Random) -> None:
        some = {
            next(self._times): (rng.choice(self._truths.shoppers), rng.choice(self._truths.items), kind)
            for kind in rng.choices(EVENT_TYPES, k=rng.choice((1, 1, 3)))
        }
        events = [Event(*each, time=at / 1000, id=f"event {at}") for at, each in some.items()]
        answers = await caller.insist(lambda: caller.reckoner.record_many(events))
        assert {answer.status for answer in answers or ()} <= {"recorded", "seen"}, answers
        self.recorded |= some if answers else {}

    async def _hide(self, caller: Caller, rng: Random) -> None:
        user, item = rng.choice(self._truths.shoppers), rng.choice(self._truths.items)
        await caller.insist(lambda: caller.reckoner.hide(user, item))
        self.hides.add((user, item))

    async def _run(self, rng: Random) -> None:
        self._busy += 1
        while True:
            await self._turn(rng, 0.5)
            run_id = await self.start_run(rng)
            if run_id:
                await self.operator.insist(partial(self._until_run_ended, run_id))

    async def start_run(self, rng: Random) -> str | None:
        """Start a run of the newest generation, or join it."""
        size, window = rng.choice(BLOCK_SIZES), rng.choice(WINDOWS)
        started = await self.operator.insist(lambda: self.operator.reckoner.operator.start_run(size, window))
        if not started:
            return None
        self.runs.add(started[0])
        return started[0]

    async def _until_run_ended(self, run_id: str) -> None:
        async for _ in self.operator.reckoner.operator.follow_run(run_id):
            pass

    async def fit(self, config: ModelConfig) -> str | None:
        """Build a model, without waiting. Its generation becomes the newest."""
        operator, settings = self.operator, self._system.settings
        length, spare, snapshot = settings.list_length, settings.spare, self._truths.snapshot
        self.fitted.add(generation_id(model_id(snapshot, config), Options(length), spare))
        fit = operator.reckoner.operator.fit
        asked = await operator.insist(lambda: fit(snapshot, config, length, spare=spare))
        if asked:
            self.asked.add(asked[0])
        return asked[0] if asked else None
