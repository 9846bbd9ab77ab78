"""Memory that is freed goes back to the system."""

import ctypes
from contextlib import suppress

# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX: see mallopt(3).
MMAP, TRIM, ARENAS = -3, -1, -8


def return_freed_memory(large: int = 1 << 18, spare: int = 1 << 20) -> None:
    """Let malloc give freed arrays of at least `large` bytes back to the system, where it is glibc's.

    It keeps `spare` bytes of smaller ones.

    By default it raises its thresholds after the first large array and keeps tens of megabytes for each thread. Memory
    that is given back takes CPU when it is needed again.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        # A threshold that is set stays fixed.
        for option, value in ((MMAP, large), (TRIM, spare), (ARENAS, 2)):
            mallopt(option, value)
