"""Memory that is freed goes back to the system."""

import ctypes
from contextlib import suppress

# M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in bytes, and M_ARENA_MAX: see mallopt(3). A threshold that is set stays fixed.
MALLOC_OPTIONS = ((-3, 1 << 18), (-1, 1 << 20), (-8, 2))


def return_freed_memory() -> None:
    """Let malloc give freed arrays back to the system, where it is glibc's.

    By default it raises its thresholds after the first large array and keeps tens of megabytes for each thread.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_OPTIONS:
            mallopt(option, value)
