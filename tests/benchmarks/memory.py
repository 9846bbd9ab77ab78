"""The memory of several processes together; shared pages count once."""

import contextlib
import threading
from types import TracebackType
from typing import Self

import psutil

EVERY_S = 0.05
BYTES_PER_GB = 1e9


class PeakMemory:
    """The peak memory of a process and its children, over all samples.

    It sums the proportional set size (PSS of /proc/PID/smaps): n processes that share a page count an n-th each. Mapped
    files count, open artifacts included.
    """

    def __init__(self, pid: int) -> None:
        self.gb = 0.0
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            self.gb = max(self.gb, self._now())

    def _now(self) -> float:
        total = 0
        # A process may end meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [self._process, *self._process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_full_info().pss
        return total / BYTES_PER_GB
