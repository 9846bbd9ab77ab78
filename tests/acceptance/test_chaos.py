"""Whatever happens to workers, server, connections, clocks and what is in Redis: every job ends, and ends right.

`make test` lets thirty faults happen, the same each time; `make chaos SEED=... FAULTS=...` as many as one likes.
"""

import os
from pathlib import Path

from tests.aftermath import check
from tests.chaos import FAULTS_BETWEEN_CHECKS, Chaos
from tests.faults import plan

SEED = int(os.environ.get("CHAOS_SEED", "0"))
FAULTS = int(os.environ.get("CHAOS_FAULTS", "30"))
SETTINGS = {"task_deadline_s": 2, "first_look_s": 0.2, "log_level": "WARNING"}


async def test_whatever_happens_every_job_ends_and_ends_right(tmp_path: Path) -> None:
    """Under load, with a look at everything after every ten faults; a run that failed comes again with its seed."""
    print(f"\nmake chaos SEED={SEED} FAULTS={FAULTS}")
    async with Chaos(tmp_path, SEED, **SETTINGS) as chaos:
        for number, fault in enumerate(plan(SEED, FAULTS), 1):
            await chaos.strike(number, fault)
            if number % FAULTS_BETWEEN_CHECKS == 0 or number == FAULTS:
                await chaos.quiet()
                await check(chaos)
        print(*(f"{count:6,}  {what}" for what, count in sorted(chaos.counts.items())), sep="\n")
        print(f"exits of workers by code: {dict(chaos.fleet.exits)}; {chaos.ends.total:,} ends were told")
