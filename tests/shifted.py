"""A worker whose clock can be shifted, run as `python tests/shifted.py CLOCK ...`: for tests only.

The file CLOCK holds a little-endian float64, by how many seconds the worker's clock is ahead. It is read whenever the
clock is, so that the clock jumps when somebody writes there. The others are those of `python -m reckoner.workers`.
"""

# Nothing of ours is imported before the clock is in its place, since many take `time` by its name.

import mmap
import struct
import sys
import time
from pathlib import Path

SHIFT = struct.Struct("<d")


def write_shift(clock: Path, seconds: float) -> None:
    """Let the clock be so many seconds ahead."""
    with clock.open("r+b" if clock.exists() else "w+b") as file:
        file.write(SHIFT.pack(seconds))


def shift_clock(clock: Path) -> None:
    """Shift what this process takes for the time of day; monotonic clocks go on, as they do where a clock is set."""
    with clock.open("rb") as file:
        shift = mmap.mmap(file.fileno(), SHIFT.size, access=mmap.ACCESS_READ)
    now, now_ns = time.time, time.time_ns

    def shifted() -> float:
        return now() + float(SHIFT.unpack_from(shift)[0])

    def shifted_ns() -> int:
        return now_ns() + int(SHIFT.unpack_from(shift)[0] * 1e9)

    time.time, time.time_ns = shifted, shifted_ns


def main() -> int:
    """Be a worker."""
    program, clock, *arguments = sys.argv
    shift_clock(Path(clock))
    from reckoner.workers.__main__ import main as work

    sys.argv = [program, *arguments]
    return work()


if __name__ == "__main__":
    sys.exit(main())
