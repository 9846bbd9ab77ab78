"""Whatever happens to workers, server, connections, clocks and Redis' data: every job ends correctly.

`make test` injects each fault once, in the same order each time; `make chaos SEED=... FAULTS=...` any number.
"""

import os
import signal
from pathlib import Path

from tests.aftermath import check
from tests.chaos import FAULTS_BETWEEN_CHECKS, Chaos
from tests.faults import FAULTS as FAULT_LIST
from tests.faults import plan

SEED = int(os.environ.get("CHAOS_SEED", "0"))
FAULTS = int(os.environ.get("CHAOS_FAULTS", len(FAULT_LIST)))
# By which a worker ends that reads where nothing is.
UNSENT = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
SETTINGS = {"lease_s": 1.5, "first_look_s": 0.2, "task_deadline_s": 5, "log_level": "WARNING"}


async def test_under_random_faults_every_job_ends_correctly(tmp_path: Path) -> None:
    """Under load, with a full check after every ten faults. A seed repeats a failed run."""
    print(f"\nmake chaos SEED={SEED} FAULTS={FAULTS}")
    async with Chaos(tmp_path, SEED, **SETTINGS) as chaos:
        for number, fault in enumerate(plan(SEED, FAULTS), 1):
            await chaos.strike(number, fault)
            if number % FAULTS_BETWEEN_CHECKS == 0 or number == FAULTS:
                took_s = await chaos.quiet()
                chaos.say(f"      quiet after {took_s:.1f} s; {await check(chaos)}")
        await assert_wrong_is_seen(chaos)
        print(*(f"{count:6,}  {what}" for what, count in sorted(chaos.counts.items())), sep="\n")
        unsent = {-signum for signum in UNSENT} & chaos.fleet.exits.keys()
        assert not unsent, f"workers ended by signals that nobody sent: {unsent}"
        print(f"exits of workers by code: {dict(chaos.fleet.exits)}; {chaos.ends.total:,} ends were published")


async def assert_wrong_is_seen(chaos: Chaos) -> None:
    """The check finds a key that is left, unknown or without expiry, wrong bytes, and a second end."""
    keys, user = chaos.keys, chaos.truths.users[0]
    # Lists of other generations may be deleted meanwhile.
    result = keys.result((await chaos.ask("GET", keys.current)).decode(), user)
    for key, life_s, said in (
        (keys.join_user("generation", user), 60, "is left"),
        (f"{keys.prefix}:strange", 60, "is in no table"),
        (keys.probe("one"), None, "has no expiry"),
        (keys.probe("another"), 60, "lives"),
        (result, 60, "is not what it has to be"),
        (keys.blocks("run"), 60, "holds a string"),
    ):
        before = await chaos.ask("GET", key)
        await chaos.redis.set(key, b"{}", ex=life_s)
        await assert_seen(chaos, said, f"{key}, which is now {await chaos.ask('GET', key)!r}")
        await chaos.redis.delete(key)
        if before:
            await chaos.redis.set(key, before, ex=60)
    chaos.ends.counts["a flow"] = 2
    await assert_seen(chaos, "ended more than once", "a flow that ended twice")


async def assert_seen(chaos: Chaos, said: str, wrong: str) -> None:
    """The check fails with these words."""
    found = "nothing"
    try:
        await check(chaos)
    except AssertionError as error:
        found = str(error)
    assert said in found, f"the check of {wrong} has found {found}"
