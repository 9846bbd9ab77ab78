"""A worker's memory does not grow with its jobs."""

from itertools import cycle, islice
from pathlib import Path

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.snapshots import open_snapshot
from tests.system import System, eventually

FIRST = 2_000
LAST = 20_000
AT_ONCE = 500
MAX_GROWTH_MB = 5.0


@pytest.mark.soak
async def test_a_worker_does_not_grow(tmp_path: Path) -> None:
    """After 20,000 jobs for MovieLens users it has hardly more memory than after 2,000."""
    async with System(tmp_path / "a home", log_level="WARNING") as system:
        snapshot = open_snapshot(system.store.fetch("snapshots", system.import_movielens()))
        users = cycle(snapshot.users[user] for user in range(snapshot.n_users))
        workers = system.start_workers(1)
        await system.fit()
        resident_mb: dict[int, float] = {}
        done = 0
        async with system.reckoner() as reckoner:

            async def few_left() -> bool:
                return len(await ask(reckoner.redis, "ZUNION", 2, *system.keys.all_live)) < 50

            for goal in (FIRST, LAST):
                while done < goal:
                    done += len(set(await system.enqueue(list(islice(users, AT_ONCE)))))
                    await eventually(few_left)
                await system.idle()
                (resident_mb[goal],) = workers.resident_mb
    growth_mb = resident_mb[LAST] - resident_mb[FIRST]
    print(f"resident after {FIRST:,} jobs {resident_mb[FIRST]:.1f} MB, after {LAST:,} {resident_mb[LAST]:.1f} MB")
    assert growth_mb < MAX_GROWTH_MB
