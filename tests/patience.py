"""How long tests wait for events: long enough for a busy machine."""

import os
import time

# Only a failure takes this long.
PATIENCE_S = 600.0


def slowness() -> float:
    """How many times as long as a quick, idle machine this one takes now: the factor for claims about time."""
    began = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    took_s = time.perf_counter() - began
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) * max(1.0, took_s / 0.045)
