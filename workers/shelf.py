"""The shelves of one worker process: the last few immutable things that it has opened or read."""

import math
import time
from collections import OrderedDict
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

# A generation in use and the one that a run is making, each with a model and a snapshot.
OPEN_AT_ONCE = 4
# How long what lies in the store counts as looked at: a worker of clicks asks thousands of times a second.
LOOK_S = 0.05


class Watch:
    """Tells from now on whether an artifact that is opened is the one that lies in the store.

    One whose bytes were damaged in place is published anew, with a manifest of its own. Where none lies there any more,
    what was opened is as good as it was. (Not in a thread: it takes microseconds, and the threads may be busy.)
    """

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._first, self._looked_at = self._found(), time.monotonic()
        self._current = True

    def is_current(self) -> bool:
        """What was found when the store was last looked at, which is `LOOK_S` ago at most."""
        if (now := time.monotonic()) - self._looked_at > LOOK_S:
            self._current, self._looked_at = self._found() in (self._first, None), now
        return self._current

    def look_again(self) -> None:
        """Look at the store when next asked, however lately that was done."""
        self._looked_at = -math.inf

    def _found(self) -> tuple[int, int, int] | None:
        try:
            found = self._manifest.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


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

    def put(self, name: str, thing: T, watch: Watch | None = None) -> T:
        """Keep a thing, if it is watched for as long as it is current.

        The one that was not asked for the longest is let go.
        """
        self._kept[name] = thing, watch
        if len(self._kept) > OPEN_AT_ONCE:
            self._kept.popitem(last=False)
        return thing

    def look_again(self, name: str) -> None:
        """Look at the store when the thing of that name is asked for next."""
        _, watch = self._kept.get(name, (None, None))
        if watch is not None:
            watch.look_again()
