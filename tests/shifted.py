"""A worker with a shifted clock, run as `python tests/shifted.py CLOCK ...`: for tests only.

The file CLOCK holds the shift in seconds, a little-endian float64. It is read at each look at the clock, so a write
makes the clock jump. The other arguments are those of `python -m reckoner.workers`.
"""

# Replace the clock before other imports, which bind `time` by name.

import mmap
import struct
import sys
import time
from pathlib import Path

SHIFT = struct.Struct("<d")


def write_shift(clock: Path, seconds: float) -> None:
    """Set the clock so many seconds ahead."""
    with clock.open("r+b" if clock.exists() else "w+b") as file:
        file.write(SHIFT.pack(seconds))


def shift_clock(clock: Path) -> None:
    """Shift this process's time of day. Monotonic clocks are not affected."""
    with clock.open("rb") as file:
        shift = mmap.mmap(file.fileno(), SHIFT.size, access=mmap.ACCESS_READ)
    now, now_ns = time.time, time.time_ns

    def shifted() -> float:
        return now() + float(SHIFT.unpack_from(shift)[0])

    def shifted_ns() -> int:
        return now_ns() + int(SHIFT.unpack_from(shift)[0] * 1e9)

    time.time, time.time_ns = shifted, shifted_ns


def main() -> int:
    """Run the worker."""
    program, clock, *arguments = sys.argv
    shift_clock(Path(clock))
    from reckoner.workers.__main__ import main as work

    sys.argv = [program, *arguments]
    return work()


if __name__ == "__main__":
    sys.exit(main())
