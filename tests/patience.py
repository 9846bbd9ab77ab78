"""How long tests wait: as long as what they wait for may still come, whatever else the machine does."""

import os
import time

# Only what never comes takes as long.
PATIENCE_S = 600.0


def slowness() -> float:
    """How many times as long as a quick machine that does nothing else this one takes just now: what a claim about
    time is to be multiplied with.
    """
    began = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    took_s = time.perf_counter() - began
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) * max(1.0, took_s / 0.045)
