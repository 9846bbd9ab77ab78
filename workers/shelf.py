"""The shelves of one worker process: the last few immutable things that it has opened or read."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# A generation in use and the one that a run is making, each with a model and a snapshot.
OPEN_AT_ONCE = 4
# How long what lies in the store counts as looked at: a worker of clicks asks thousands of times a second.
LOOK_S = 0.05


class Watch:
    """Tells from now on whether an artifact that is opened is the one that lies in the store.

    `first` is what its files were when it was opened, and `seal` tells what they are: empty where none lies there any
    more, upon which what was opened is as good as it was. `glance` tells in a microsecond what its manifest is. (Not in
    a thread: the threads may be busy.)
    """

    def __init__(self, first: str, seal: Callable[[], str], glance: Callable[[], object]) -> None:
        self._first, self._seal, self._glance = first, seal, glance
        self._glanced: object = None
        self._current, self._looked_at = True, -math.inf

    def is_current(self) -> bool:
        """What was found when the store was last looked at, which is `LOOK_S` ago at most."""
        if time.monotonic() - self._looked_at > LOOK_S:
            self._look()
        return self._current

    def is_still_current(self) -> bool:
        """Whether nothing was published in its place until this moment."""
        if self._glance() != self._glanced:
            self._look()
        return self.is_current()

    def look_again(self) -> None:
        """Look at the store when next asked, however lately that was done."""
        self._looked_at = -math.inf

    def _look(self) -> None:
        self._glanced = self._glance()
        self._current, self._looked_at = self._seal() in (self._first, ""), time.monotonic()


class Shelf(Generic[T]):
    """The last few immutable things that were asked for: a model is opened once, and memory stays bounded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[T, Watch | None]] = OrderedDict()

    def get(self, name: str) -> T | None:
        """The thing of that name, if it was put here lately and is current."""
        if name not in self._kept:
            return None
        self._kept.move_to_end(name)
        thing, watch = self._kept[name]
        return thing if watch is None or watch.is_current() else None

    def is_still_current(self, name: str, thing: T) -> bool:
        """Whether the thing of that name is this one, and nothing was published in its place until this moment."""
        kept, watch = self._kept.get(name, (None, None))
        return kept is thing and (watch is None or watch.is_still_current())

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
