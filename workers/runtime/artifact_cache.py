"""The shelves of one worker process: the last few immutable things that it has opened or read."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.threads import Threads

T = TypeVar("T")

# A generation in use and the one that a run is making, each with a model and a snapshot.
OPEN_AT_ONCE = 4
# How long what lies in the store counts as looked at: a worker of clicks asks thousands of times a second, and to look
# costs as much as the tenth part of a click. Far within `SEEN_WITHIN_S`, so that a commit has its time, too.
LOOK_S = 0.05


class Watch:
    """Tells from now on whether an artifact that is opened is the one that lies in the store.

    `first` is the fingerprint when it was opened. `fingerprint` returns the present one: empty if the artifact is gone
    from the store, and then the opened one stays valid.
    """

    def __init__(self, first: str, fingerprint: Callable[[], str]) -> None:
        self.current = True
        """What was found when the store was last looked at."""
        self._first, self._fingerprint = first, fingerprint
        self._there = False
        self._looked_at = self._asked_at = -math.inf

    @property
    def is_fresh(self) -> bool:
        """Whether the artifact was looked at, and was there, `LOOK_S` ago at most.

        So long nothing was published in its place: whoever does so waits until each worker has seen that it is away.
        """
        lately = time.monotonic() - self._looked_at <= LOOK_S
        return self._there and lately and self._looked_at > self._asked_at

    def look_again(self) -> None:
        """Be no longer fresh, also behind a look that has begun."""
        self._asked_at = time.monotonic()

    def look(self) -> None:
        """Look at the artifact. It reads: not on the event loop."""
        began, found = time.monotonic(), self._fingerprint()
        self.current, self._there, self._looked_at = found in (self._first, ""), bool(found), began


class Look:
    """One look at some artifacts."""

    def __init__(self) -> None:
        self.watches = set[Watch]()
        self.over = asyncio.Event()
        self.done = False
        self.error: Exception | None = None
        self.timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Look, not on the event loop."""
        for watch in self.watches:
            watch.look()


class Looks:
    """The looks of one worker process at the store, beside its event loop; nobody waits longer than `patience_s`."""

    def __init__(self, threads: Threads, patience_s: float) -> None:
        self._threads, self._patience_s = threads, patience_s
        self._next: Look | None = None
        self._running: asyncio.Task[None] | None = None

    async def look(self, watches: Iterable[Watch]) -> None:
        """Have artifacts looked at now. Whoever asks before the next look begins shares it.

        Raises:
            NotNowError: the store does not answer, so that nothing can be told.
        """
        look = self._next
        if look is None:
            look = self._next = Look()
            look.timer = asyncio.get_running_loop().call_later(self._patience_s, self._give_up, look)
            if self._running is None:
                self._running = asyncio.create_task(self._run())
        look.watches.update(watches)
        await look.over.wait()
        if look.error is not None:
            raise look.error
        if not look.done:
            raise NotNowError

    async def _run(self) -> None:
        while self._next is not None:
            look, self._next = self._next, None
            try:
                await self._threads.look(look.run)
                look.done = True
            except Exception as error:
                look.error = error
            self._end(look)
        self._running = None

    def _give_up(self, look: Look) -> None:
        if self._next is look:
            self._next = None
        self._end(look)

    def _end(self, look: Look) -> None:
        look.over.set()
        if look.timer is not None:
            look.timer.cancel()


class ArtifactCache(Generic[T]):
    """The last few immutable things that were asked for: a model is opened once, and memory stays bounded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[T, Watch | None]] = OrderedDict()

    def get(self, name: str) -> tuple[T, Watch | None] | tuple[None, None]:
        """The thing of that name and what watches it, if it was put here lately."""
        if name not in self._kept:
            return None, None
        self._kept.move_to_end(name)
        return self._kept[name]

    def put(self, name: str, thing: T, watch: Watch | None = None) -> T:
        """Keep a thing, if it is watched for as long as it is current.

        The one that was not asked for the longest is let go.
        """
        self._kept[name] = thing, watch
        if len(self._kept) > OPEN_AT_ONCE:
            self._kept.popitem(last=False)
        return thing

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def look_again(self, name: str) -> None:
        """Look at the store when the thing of that name is asked for next."""
        _, watch = self._kept.get(name, (None, None))
        if watch is not None:
            watch.look_again()
