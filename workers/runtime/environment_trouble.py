"""Postpones jobs while their environment (store, disk, memory, a missing artifact) is in trouble."""

import math
import random

import structlog

from reckoner.shared.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ReckonerError,
    StoreError,
    is_environment_error,
)
from reckoner.shared.redis.scripts import ask
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.runtime import Runtime

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
# How long an NFS mount may hide an artifact that another host has published: the default of its `acdirmax`.
HIDDEN_S = 60.0

log = structlog.get_logger()


async def postpone_if_trouble(runtime: Runtime, job_id: str, run: str, error: Exception) -> None:
    """Postpone a job that its environment failed, with growing pauses, until the trouble has lasted too long.

    Args:
        runtime: The runtime.
        job_id: The job.
        run: The run of the job, empty for none.
        error: What the job raised.

    Raises:
        NotNowError: the job is tried again later. While the whole store is away this has no limit.
    """
    if isinstance(error, StoreError) and not await runtime.store_watch.probe():
        # No pause: another worker may see the store, and this one claims nothing until it does.
        raise NotNowError from error
    # Other hosts see a new artifact late, and a damaged model is being rebuilt.
    missing = str(error.evidence.get("artifact", "")) if isinstance(error, ArtifactMissingError) else ""
    may_appear = isinstance(error, ArtifactMissingError | ArtifactDamagedError) if run else missing
    if not is_environment_error(error) and not may_appear:
        return
    # One time limit for all blocks of a run, and one for all clicks that miss the same artifact.
    limit_s, name, gap_s = runtime.settings.trouble_s, job_id, math.inf
    if run:
        name, gap_s = run, 2 * LONGEST_PAUSE_S
    elif missing:
        limit_s, name = min(limit_s, HIDDEN_S), missing
    lasts_s = await _trouble_lasts_s(runtime, name, gap_s)
    if lasts_s < limit_s:
        pause_ms = int(min(max(FIRST_PAUSE_S, lasts_s / 2), LONGEST_PAUSE_S) * random.uniform(500, 1500))
        log.warning("job postponed", job=job_id, reason=failure_reason(error), retry_in_ms=pause_ms)
        raise NotNowError(pause_ms) from error


async def _trouble_lasts_s(runtime: Runtime, name: str, gap_s: float) -> float:
    """How long `name` has been in trouble, in seconds. It starts over after `gap_s` without trouble."""
    now_ms, key = await runtime.now_ms(), runtime.keys.trouble(name)
    since, _, last = (await ask(runtime.redis, "GET", key) or b"").partition(b":")
    if not since.isdigit() or not last.isdigit() or now_ms - int(last) > gap_s * 1000:
        since = b"%d" % now_ms
    life_ms = int(2000 * runtime.settings.trouble_s) + 60_000
    await ask(runtime.redis, "SET", key, f"{int(since)}:{now_ms}", "PX", life_ms)
    return max(0, now_ms - int(since)) / 1000


def failure_reason(error: Exception) -> str:
    """Why a job failed, for people. Only messages of our own errors are known to hold no secrets."""
    if isinstance(error, ReckonerError):
        return str(error).rstrip(".")
    return f"{type(error).__name__} in a task; see the worker's log"
