"""The table of all metrics: their names, meanings and labels, from which exposition, page and tests are made.

A label has a closed set of values, which bounds the number of series: any other value counts as `other`, where the set
has it. No label names a worker, a host or a user.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Final, Literal, get_args

from reckoner.shared.flows.nights import STAGES, NightOutcome, StageOutcome
from reckoner.shared.wire.shapes import Lane

MetricKind = Literal["counter", "histogram", "gauge"]
OTHER: Final = "other"
# The upper bounds of all histograms' buckets, in seconds. The last bucket has none.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0)

LANES: Final[tuple[str, ...]] = get_args(Lane)
TASKS: Final = ("split", "chunk", "reduce", "finish", "refuse", OTHER)
JOBS: Final = ("user", "basket", "similar", "history", "block", "fit", "evaluation", OTHER)
SOURCES: Final = ("cache", "filtered", "popular", "trending", "latest", OTHER)
REFUSED: Final = (
    *(
        "job",
        "flow",
        "partial",
        "trace",
        "member",
        "key",
        "reply",
        "result",
        "filtered list",
        "basket",
        "record",
        OTHER,
    ),
)
REQUESTS: Final = (
    *("recommendations", "baskets", "similar", "history", "events", "items", "hidden", "merge", "jobs", "runs"),
    *("lists", "status", "health", "metrics", "backlog", "page", OTHER),
)
# By the status code of an answer: below 400, below 500, 503 and 504 for what is full, late or away, and the rest.
ANSWERS: Final = ("ok", "refused", "unavailable", "failed")


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric. Times are in seconds, sizes in bytes, shares between 0 and 1."""

    name: str
    kind: MetricKind
    what: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of its labels, and the values that each may have."""

    @cached_property
    def is_time(self) -> bool:
        """Whether it is in seconds."""
        return "_seconds" in self.name

    @property
    def combinations(self) -> Iterator[tuple[str, ...]]:
        """All values that its labels can have together."""
        return product(*self.labels.values())

    @property
    def most_series(self) -> int:
        """The most series that a scraper keeps of it."""
        # A histogram's buckets, the last one, the sum and the count.
        each = len(BUCKETS_S) + 3 if self.kind == "histogram" else 1
        return each * len(list(self.combinations))

    def allowed(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The labels with `other` for values that the metric does not have."""
        known = zip(labels, self.labels.values(), strict=True)
        return tuple(value if value in values else OTHER for value, values in known)


_IN_LANE = {"lane": LANES}
_BY_TASK = _IN_LANE | {"kind": TASKS}
_BY_JOB = _IN_LANE | {"kind": JOBS}

TASKS_ENDED = Metric(
    "reckoner_tasks_total",
    "counter",
    "Tries of tasks that workers ended: `handed back` ones did not count, `lost` ones went to another worker.",
    _BY_TASK | {"outcome": ("done", "failed", "retried", "handed back", "lost")},
)
TASK_WAIT = Metric(
    "reckoner_task_wait_seconds", "histogram", "Time from a task's creation to its start, of every try.", _BY_TASK
)
TASK_RUN = Metric("reckoner_task_run_seconds", "histogram", "Time from a task's start to its end.", _BY_TASK)
JOBS_ENDED = Metric(
    "reckoner_jobs_total",
    "counter",
    "Jobs that workers ended. Cancelled ones are not counted.",
    _BY_JOB | {"outcome": ("done", "failed")},
)
JOB_TIME = Metric("reckoner_job_seconds", "histogram", "Time from a job's request to its end.", _BY_JOB)
JOB_WORK = Metric(
    "reckoner_job_work_seconds_total", "counter", "Time that workers spent on the tasks of jobs.", {"kind": JOBS}
)
LEASES_LAPSED = Metric(
    "reckoner_leases_lapsed_total", "counter", "Tasks whose worker died or stood still, so that others took them over."
)
STAGES_ENDED = Metric(
    "reckoner_night_stages_total",
    "counter",
    "Stages of nights that ended.",
    {"kind": STAGES, "outcome": get_args(StageOutcome)},
)
NIGHTS_ENDED = Metric("reckoner_nights_total", "counter", "Nights that ended.", {"outcome": get_args(NightOutcome)})
LISTS_READ = Metric(
    "reckoner_lists_read_total",
    "counter",
    "Lists that `serve` answered: a user's or basket's own (`cache`, `filtered`), or one that is the same for all.",
    {"source": SOURCES},
)
EVENTS = Metric(
    "reckoner_events_total",
    "counter",
    "Events that `serve` was sent: `seen` before, `later` counting from the next import on, `refused` ones.",
    {"outcome": ("recorded", "seen", "later", "refused")},
)
REQUESTS_ANSWERED = Metric(
    "reckoner_http_requests_total",
    "counter",
    "Requests that `serve` answered: `refused` with 4xx, `unavailable` with 503 or 504, `failed` with other 5xx.",
    {"kind": REQUESTS, "outcome": ANSWERS},
)
REQUEST_TIME = Metric(
    "reckoner_http_request_seconds", "histogram", "Time from a request to its answer.", {"kind": REQUESTS}
)

EVENTS_RECORDED = Metric(
    "reckoner_events_recorded_total", "counter", "Events that were recorded by any client, as Redis counts them."
)
REFUSALS = Metric(
    "reckoner_refusals_total", "counter", "Bytes in Redis that were invalid and set aside.", {"kind": REFUSED}
)
DEAD_LETTERS_ADDED = Metric(
    "reckoner_dead_letters_added_total", "counter", "Dead letters that were written: failed jobs and refused bytes."
)

WORKERS = Metric(
    "reckoner_workers",
    "gauge",
    "Workers. One may be counted twice: `draining` and `without store` are also `alive`.",
    {"kind": ("alive", "silent", "draining", "without store")},
)
WORKER_MEMORY = Metric("reckoner_workers_memory_bytes", "gauge", "Resident memory of all workers together.")
WAITING = Metric("reckoner_tasks_waiting", "gauge", "Tasks that wait.", _IN_LANE)
RUNNING = Metric("reckoner_tasks_running", "gauge", "Tasks that run.", _IN_LANE)
OLDEST_WAIT = Metric("reckoner_oldest_wait_seconds", "gauge", "Age of the oldest waiting task's job.", _IN_LANE)
PAUSED = Metric("reckoner_lane_paused_seconds", "gauge", "How long a lane has been paused, 0 if it is not.", _IN_LANE)
BACKLOG = Metric("reckoner_backlog_seconds", "gauge", "Time that the live workers need for all that waits.", _IN_LANE)
WORK_LEFT = Metric("reckoner_work_left_seconds", "gauge", "Time that one worker needs for all that waits.", _IN_LANE)
JOBS_UNFINISHED = Metric(
    "reckoner_jobs_unfinished", "gauge", "Jobs under way, by what comes next.", {"kind": ("split", "run", "reduce")}
)
RUN_USERS_LEFT = Metric("reckoner_run_users_left", "gauge", "Users whose lists the runs under way have not made yet.")
NIGHT_RUNS = Metric("reckoner_night_running", "gauge", "1 while a night is under way.")
NIGHT_VERDICT = Metric(
    "reckoner_night_verdict", "gauge", "1 for the outcome of the last night.", {"outcome": get_args(NightOutcome)}
)
NIGHT_STAGE = Metric("reckoner_night_stage_seconds", "gauge", "Duration of the last night's stages.", {"kind": STAGES})
NIGHT_AGE = Metric(
    "reckoner_night_age_seconds",
    "gauge",
    "Time since the end of the last night, and of the last `good` one: `live` or `unchanged`.",
    {"kind": ("last", "good")},
)
GENERATION_AGE = Metric("reckoner_generation_age_seconds", "gauge", "Time since the live generation was first made.")
GENERATION_USERS = Metric("reckoner_generation_users", "gauge", "Users of the live generation.")
GENERATION_EMPTY = Metric("reckoner_generation_empty_lists", "gauge", "Empty lists of the live generation.")
LISTS_EXPIRE = Metric("reckoner_lists_expire_seconds", "gauge", "Time until the first list of the live one expires.")
CHURN = Metric(
    "reckoner_generation_churn_ratio", "gauge", "Share of places with a new item, against the generation before."
)
COVERAGE = Metric(
    "reckoner_generation_coverage_items", "gauge", "Different items in the lists that the gate has sampled."
)
CONCENTRATION = Metric(
    "reckoner_generation_concentration_ratio", "gauge", "Share of places with one of the ten most frequent items."
)
REDIS_MEMORY = Metric("reckoner_redis_memory_bytes", "gauge", "Memory that Redis uses.")
REDIS_MEMORY_MAX = Metric("reckoner_redis_memory_max_bytes", "gauge", "Memory limit of Redis, absent without one.")
EVENTS_KEPT = Metric("reckoner_events_kept", "gauge", "Recorded events that not all generations with lists hold yet.")
HIDDEN = Metric("reckoner_hidden_items", "gauge", "Items that are hidden from everybody.")
STALE = Metric("reckoner_stale_lists", "gauge", "Users whose lists are to be computed again and have no job yet.")
DEAD_LETTERS = Metric("reckoner_dead_letters", "gauge", "Dead letters that are kept, at most 1,000.")

# What processes count and add up; the rest is read from Redis when it is asked for.
COUNTED: Final = (
    *(TASKS_ENDED, TASK_WAIT, TASK_RUN, JOBS_ENDED, JOB_TIME, JOB_WORK, LEASES_LAPSED, STAGES_ENDED, NIGHTS_ENDED),
    *(LISTS_READ, EVENTS, REQUESTS_ANSWERED, REQUEST_TIME),
)
READ: Final = (
    *(EVENTS_RECORDED, REFUSALS, DEAD_LETTERS_ADDED),
    *(WORKERS, WORKER_MEMORY, WAITING, RUNNING, OLDEST_WAIT, PAUSED, BACKLOG, WORK_LEFT, JOBS_UNFINISHED),
    *(RUN_USERS_LEFT, NIGHT_RUNS, NIGHT_VERDICT, NIGHT_STAGE, NIGHT_AGE),
    *(GENERATION_AGE, GENERATION_USERS, GENERATION_EMPTY, LISTS_EXPIRE, CHURN, COVERAGE, CONCENTRATION),
    *(REDIS_MEMORY, REDIS_MEMORY_MAX, EVENTS_KEPT, HIDDEN, STALE, DEAD_LETTERS),
)
METRICS: Final = COUNTED + READ
MOST_SERIES: Final = sum(metric.most_series for metric in METRICS)
