"""What is measured of the whole fleet: its status, what all processes have counted, and how much work waits."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from reckoner.producer.client.calls import ASK_S, translates_redis_errors
from reckoner.producer.client.status import Status
from reckoner.shared.metrics.counters import Counts, read_counts
from reckoner.shared.metrics.table import JOB_WORK, JOBS_ENDED, TASK_RUN, TASKS
from reckoner.shared.redis.connections import is_command_unavailable
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import CLAIMED, PAUSED
from reckoner.shared.serving.history import MOST_OF_EACH, Entry, History

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.wire.shapes import Lane

# So many waiting jobs say which tasks wait, in bounded time.
SAMPLE = 300
# What a task or a block is taken to last before one has ended: about as long as tasks are planned to last.
UNKNOWN_S = 0.02


@dataclass(frozen=True)
class Backlog:
    """The work that waits."""

    work_s: "dict[Lane, float]"
    """For each lane the seconds that one worker needs for it."""
    workers: int
    """The number of live workers."""
    paused: "frozenset[Lane]"

    def seconds(self, lane: "Lane") -> float:
        """The seconds that the live workers need for a lane; without one, those that one would."""
        return self.work_s[lane] / max(1, self.workers)

    @property
    def work_left_s(self) -> float:
        """The seconds that one worker needs for all lanes that are not paused."""
        return sum((work for lane, work in self.work_s.items() if lane not in self.paused), 0.0)

    @property
    def left_s(self) -> float:
        """The seconds that the live workers need for all lanes that are not paused."""
        return self.work_left_s / max(1, self.workers)


@dataclass(frozen=True)
class Measured:
    """The state of the fleet at one moment."""

    status: Status
    counts: Counts
    backlog: Backlog
    events_recorded: int
    """The events that were ever recorded."""
    letters: int
    """The dead letters that were ever written."""
    entries: list[Entry]
    """The newest nights, runs, fits, promotions and rollbacks, newest first."""


@translates_redis_errors
async def measure(reckoner: "OpenReckoner", *, timeout: float | None = ASK_S) -> Measured:
    """Measure the whole fleet, in bounded time.

    Raises:
        RedisUnavailableError: Redis does not answer.
    """
    redis, keys = reckoner.redis, reckoner.keys
    status, counts = await reckoner.operator.status(timeout=None), await read_counts(redis, keys)
    waiting = {lane: await _waiting(redis, keys.lane(lane), queue.waiting) for lane, queue in status.queues.items()}
    return Measured(
        status=status,
        counts=counts,
        backlog=backlog(status, counts, waiting),
        events_recorded=await _ever_added(redis, keys.event_stream),
        letters=await _ever_added(redis, keys.dead),
        entries=await History(redis, keys).nights(MOST_OF_EACH),
    )


def backlog(status: Status, counts: Counts, waiting: "dict[Lane, dict[str, float]]") -> Backlog:
    """How much work waits, by the times of all tasks and jobs that have ended so far.

    A waiting `split` stands for its whole job: it counts as the lane's time for all tasks divided by the number of its
    splits. Each other task counts as the mean of its kind in its lane. A run counts in the batch lane: each block that
    is not done as the mean of all blocks, in which its blocks in flight are no splits. What has never ended counts as
    20 ms. Times are those from start to end, so a worker with several tasks at once is faster than that.

    Args:
        status: The lanes, runs and workers.
        counts: The times.
        waiting: For each lane the number of waiting tasks of each kind.
    """
    work = dict.fromkeys(status.queues, 0.0)
    for lane, tasks in waiting.items():
        splits = tasks.get("split", 0.0)
        if lane == "batch":
            in_flight = sum(run.run.next_block - run.blocks_done for run in status.runs)
            splits = max(0.0, splits - in_flight)
        work[lane] = splits * _job_s(counts, lane)
        work[lane] += sum(number * _task_s(counts, lane, task) for task, number in tasks.items() if task != "split")
    blocks = sum(run.run.blocks - run.blocks_done for run in status.runs)
    work["batch"] += blocks * _block_s(counts)
    paused = frozenset(lane for lane, queue in status.queues.items() if queue.paused_ms is not None)
    return Backlog(work, len(status.workers), paused)


def _job_s(counts: Counts, lane: str) -> float:
    return _mean(
        sum(counts.sum_s(TASK_RUN, lane, task) for task in TASKS), sum(counts.buckets(TASK_RUN, lane, "split"))
    )


def _task_s(counts: Counts, lane: str, task: str) -> float:
    return _mean(counts.sum_s(TASK_RUN, lane, task), sum(counts.buckets(TASK_RUN, lane, task)))


def _block_s(counts: Counts) -> float:
    return _mean(counts.total(JOB_WORK, "block"), counts.total(JOBS_ENDED, "batch", "block", "done"))


def _mean(total: float, number: float) -> float:
    return total / number if number else UNKNOWN_S


async def _waiting(redis: "Redis", queue: str, waiting: int) -> dict[str, float]:
    """The number of waiting tasks of each kind, estimated from a random sample if there are many."""
    if not waiting:
        return {}
    found = await ask(redis, "ZRANDMEMBER", queue, SAMPLE, "WITHSCORES")
    kinds = Counter(
        _kind_of(member)
        for member, score in zip(found[::2], found[1::2], strict=True)
        if not CLAIMED <= float(score) < PAUSED
    )
    # A sample of running jobs only says nothing.
    drawn = kinds.total()
    return {kind: waiting * count / drawn for kind, count in kinds.items()} if drawn else {TASKS[-1]: float(waiting)}


def _kind_of(member: bytes) -> str:
    """The task of a job by its id."""
    kind = member.partition(b":")[0].decode(errors="replace")
    return kind if kind in TASKS else TASKS[-1]


async def _ever_added(redis: "Redis", stream: str) -> int:
    """The number of entries that a stream ever got, also of those that are gone; 0 without one."""
    try:
        answer: Sequence[object] = await ask(redis, "XINFO", "STREAM", stream)
    except ResponseError as error:
        if not (is_command_unavailable(error) or is_wrong_type(error) or "no such key" in str(error)):
            raise
        return 0
    fields = dict(zip(answer[::2], answer[1::2], strict=True))
    added = fields.get(b"entries-added", 0)
    return added if isinstance(added, int) else 0
