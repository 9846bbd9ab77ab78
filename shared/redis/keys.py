"""The names of all keys in Redis, each made here and nowhere else.

`p` is the prefix of the settings. Unfinished flows and runs live seven days from the last look, ended ones an hour.
A queue adds 1e14 to the place of a job that is claimed and 2e14 to that of one that pauses until its deadline.

| key | type | written by | lives |
| --- | --- | --- | --- |
| `p:queue:LANE` | sorted set, job by place | creators, claim, settle | for ever, empty when idle |
| `p:queue:LANE:leases` | sorted set, job by deadline | claim, renew, settle, unheld | for ever, empty when idle |
| `p:queue:LANE:wake` | list, at most 64 tokens | creators of jobs, claim, settle | for ever |
| `p:queue:LANE:paused` | string, since when | pause; taken away by resume | for ever |
| `arq:job:ID` | string, the body | creators of jobs | seven days |
| `arq:in-progress:ID` | string, the token of the claim | claim | a day after the last renewal |
| `arq:retry:ID` | string, starts without a good end | claim, settle | a day |
| `p:live:LANE` | sorted set, `flow:ID` or `run:ID` by next look | scripts of flows and runs | for ever |
| `p:flow:ID` | hash | the flow's scripts | unfinished, ended |
| `p:flow:ID:partials` | hash, task index to partial | partial; dropped by end | unfinished |
| `p:flow:ID:tasks` | hash, task index to who, when | partial | unfinished, ended |
| `p:join:GENERATION:HASH`, `p:join:GENERATION:basket:HASH` | string, flow id | create, retry, end | unfinished |
| `p:join:GENERATION:question:HASH`, `p:join:fit:GENERATION` | string, flow id | the same | unfinished |
| `p:join:heal:MODEL` | string, flow id | the same | unfinished |
| `p:rec:GENERATION:USER` | string, JSON | reduce | `RECKONER_RESULT_TTL_S`, or until forget |
| `p:basket:GENERATION:HASH` | string, JSON | reduce | an hour |
| `p:generation`, `p:generation:previous`, `p:generation:newest` | string | adopt, flip | for ever |
| `p:generations` | hash, generation with lists to its snapshot, how many are gone | adopt, start, forget | for ever |
| `p:store` | string, token that is in the store too | whoever first uses both; `store take` | for ever |
| `p:record:GENERATION` | string, JSON | adopt, start | for ever while a pointer names it, else eight days |
| `p:titles:SNAPSHOT` | hash, item to title | the reduce of a fit | as the records that name the snapshot |
| `p:run:ID` | hash | start, end, tend, flip, curtail, close, retry_block | unfinished, ended; a night's eight days |
| `p:run:ID:flight` | hash, block to flow | start, end, tend, retry_block; dropped by close | unfinished |
| `p:run:ID:blocks` | hash, block to outcome | end, curtail, retry_block; when it passed dropped | unfinished, ended |
| `p:run-of:GENERATION` | string, run id | start, retry_block; dropped by close | unfinished |
| `p:night:DATE` | string, run id | start | eight days |
| `p:dead` | stream, at most 1,000 dead letters | end, refuse, set_aside; taken out by retry, retry_block | for ever |
| `p:refused` | hash, kind of bytes to how many | refuse, set_aside | for ever |
| `p:workers` | sorted set, worker by its last beat | each worker, once a second | a lease and ten seconds |
| `p:worker:ID` | string, JSON, what a worker says of itself | that worker, once a second | a lease and ten seconds |
| `p:worker:ID:mail` | list, what a worker is told | tell | ten seconds |
| `p:trouble:ID` | string, since when a job, run or artifact is in trouble, ms | a worker | `RECKONER_TROUBLE_S` twice |
| `p:probe:ID` | string | `doctor`, which removes it | ten seconds |
| `p:scrub` | string, who reads all artifacts or has | that worker | ten minutes, a day when it has |
| `p:sweeper` | string, token of who sweeps | sweeper | five seconds |
| `p:retention` | string, who deletes artifacts that nothing refers to, or has | that worker | ten minutes |
| `p:forgetting` | string, token of who looks at what holds a generation back | forgetting | ten seconds |
| `p:events:ID` | channel | end, close | - |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from reckoner.shared.redis.scripts.constants import BATCH, CLICK, JOB, LEASES, PAUSE, RUNNING, TRIES, WAKE
from reckoner.shared.wire.shapes import Lane


def job_key(job_id: str) -> str:
    """Where arq looks for the body of a job."""
    return JOB + job_id


def tries_key(job_id: str) -> str:
    """Where arq counts the starts of a job."""
    return TRIES + job_id


def in_progress_key(job_id: str) -> str:
    """What arq holds while a job runs."""
    return RUNNING + job_id


def leases_key(queue: str) -> str:
    """The deadlines of the leases under which a queue's claimed jobs are."""
    return queue + LEASES


def wake_key(queue: str) -> str:
    """The tokens that wake workers which wait for a queue's jobs."""
    return queue + WAKE


def paused_key(queue: str) -> str:
    """What is there while nothing is to be claimed from a queue."""
    return queue + PAUSE


def types_of_jobs(job_ids: Iterable[str]) -> dict[str, str]:
    """The types of the keys that arq has of jobs."""
    names: dict[str, str] = {}
    for job_id in job_ids:
        names |= {job_key(job_id): "string", tries_key(job_id): "integer", in_progress_key(job_id): "string"}
    return names


def basket_hash(items: Sequence[str]) -> str:
    """The SHA-256 of a basket's distinct items, in the order of their bytes and each behind its length and a colon."""
    digest = sha256()
    for item in sorted({item.encode() for item in items}):
        digest.update(b"%d:" % len(item) + item)
    return digest.hexdigest()


@dataclass(frozen=True)
class Keys:
    """The keys under one prefix."""

    prefix: str

    def _name(self, *parts: str) -> str:
        return ":".join((self.prefix, *parts))

    @property
    def click(self) -> str:
        """The queue of what somebody waits for."""
        return self._name("queue", CLICK)

    @property
    def batch(self) -> str:
        """The queue of all else."""
        return self._name("queue", BATCH)

    @property
    def lanes(self) -> tuple[str, str]:
        """The two queues, in the order in which the scripts take them."""
        return self.click, self.batch

    def lane(self, lane: Lane) -> str:
        """The queue of a lane."""
        return self._name("queue", lane)

    @property
    def live_stem(self) -> str:
        """What the names of the lanes' sets of unfinished flows and runs start with, as the scripts take it."""
        return self._name("live")

    def live_of(self, lane: Lane) -> str:
        """The unfinished flows of a lane; those of the batch lane with the unfinished runs."""
        return self._name("live", lane)

    @property
    def all_live(self) -> tuple[str, str]:
        """Both of them, in the order in which they are looked at."""
        return self.live_of(CLICK), self.live_of(BATCH)

    @property
    def dead(self) -> str:
        """The dead letters."""
        return self._name("dead")

    @property
    def refused(self) -> str:
        """How many bytes of each kind were refused."""
        return self._name("refused")

    @property
    def workers(self) -> str:
        """The workers by their last beat."""
        return self._name("workers")

    def beat(self, worker: str) -> str:
        """What a worker says of itself."""
        return self._name("worker", worker)

    def mail(self, worker: str) -> str:
        """What a worker is told."""
        return self._name("worker", worker, "mail")

    def trouble(self, name: str) -> str:
        """Since when the environment keeps a job or a run from being done, or an artifact is missed, and when last."""
        return self._name("trouble", name.replace(":", "-"))

    def probe(self, look: str) -> str:
        """What is written to see whether it can be."""
        return self._name("probe", look)

    @property
    def sweeper(self) -> str:
        """The sweeper's lock."""
        return self._name("sweeper")

    @property
    def scrub(self) -> str:
        """Who reads all artifacts in use, or has done so today."""
        return self._name("scrub")

    @property
    def retention(self) -> str:
        """Who deletes artifacts that nothing refers to, or has done so lately."""
        return self._name("retention")

    @property
    def current(self) -> str:
        """The pointer that readers follow."""
        return self._name("generation")

    @property
    def previous(self) -> str:
        """The pointer to the generation before the current one."""
        return self._name("generation", "previous")

    @property
    def newest(self) -> str:
        """The pointer to the generation of the model that was fitted last."""
        return self._name("generation", "newest")

    @property
    def pointers(self) -> tuple[str, str, str]:
        """The three pointers, in the order in which the scripts take them."""
        return self.current, self.previous, self.newest

    @property
    def generations(self) -> str:
        """The generations that may hold lists."""
        return self._name("generations")

    @property
    def store(self) -> str:
        """The token by which a store is known to be this prefix's."""
        return self._name("store")

    @property
    def cleanup(self) -> str:
        """The lock of who looks at what holds old generations back."""
        return self._name("forgetting")

    def flow(self, flow_id: str) -> str:
        """A flow's state."""
        return self._name("flow", flow_id)

    def partials(self, flow_id: str) -> str:
        """What a flow's chunk tasks have found."""
        return self._name("flow", flow_id, "partials")

    def tasks(self, flow_id: str) -> str:
        """Who did a flow's chunk tasks, and when."""
        return self._name("flow", flow_id, "tasks")

    @property
    def joins(self) -> str:
        """What the names of all joins start with."""
        return self._name("join", "")

    def join_user(self, generation: str, user: str) -> str:
        """The flow that is under way for a user."""
        return self._name("join", generation, sha256(user.encode()).hexdigest()[:32])

    def join_basket(self, generation: str, items: Sequence[str]) -> str:
        """The flow that is under way for a basket."""
        return self._name("join", generation, "basket", basket_hash(items))

    def join_question(self, generation: str, spec: bytes) -> str:
        """The flow that is under way for a question, whose encoded spec this is."""
        return self._name("join", generation, "question", sha256(spec).hexdigest()[:32])

    def join_fit(self, generation: str) -> str:
        """The fit that is under way for a generation."""
        return self._name("join", "fit", generation)

    def join_heal(self, model: str) -> str:
        """The fit that is under way for a damaged model; one that a user asks for does not join it."""
        return self._name("join", "heal", model)

    def record(self, generation: str) -> str:
        """What a generation was made with."""
        return self._name("record", generation)

    def titles(self, snapshot: str) -> str:
        """A snapshot's titles."""
        return self._name("titles", snapshot)

    def result(self, generation: str, user: str) -> str:
        """A user's cached list."""
        return self._name("rec", generation, user)

    def basket(self, generation: str, items: Sequence[str]) -> str:
        """The cached list of a basket."""
        return self._name("basket", generation, basket_hash(items))

    def run(self, run_id: str) -> str:
        """A run's state."""
        return self._name("run", run_id)

    def flight(self, run_id: str) -> str:
        """The blocks of a run that are under way."""
        return self._name("run", run_id, "flight")

    def blocks(self, run_id: str) -> str:
        """How the blocks of a run ended."""
        return self._name("run", run_id, "blocks")

    def run_of(self, generation: str) -> str:
        """The run that is under way for a generation."""
        return self._name("run-of", generation)

    def night(self, date: str) -> str:
        """The run of the night of a date."""
        return self._name("night", date)

    @property
    def rights(self) -> str:
        """What a Redis user needs to be granted, as `ACL SETUSER` takes it."""
        commands = "+@connection +@read +@write +@scripting +@transaction +@pubsub -@dangerous +info +time"
        return f"~{self._name('*')} ~arq:* &{self.events('*')} {commands}"

    @property
    def types(self) -> dict[str, str]:
        """The types of the keys that all flows and runs share."""
        zsets = dict.fromkeys((*self.lanes, *map(leases_key, self.lanes), *self.all_live, self.workers), "zset")
        lists = dict.fromkeys(map(wake_key, self.lanes), "list")
        claims = (self.sweeper, self.scrub, self.retention, self.cleanup)
        strings = (*map(paused_key, self.lanes), *claims, self.store, *self.pointers)
        return zsets | lists | dict.fromkeys(strings, "string") | {self.generations: "hash"}

    def types_of_flow(self, flow_id: str, jobs: Iterable[str] = ()) -> dict[str, str]:
        """The types of a flow's keys, and of those that arq has of its jobs."""
        names = (self.flow(flow_id), self.partials(flow_id), self.tasks(flow_id))
        return dict.fromkeys(names, "hash") | types_of_jobs(jobs)

    def types_of_run(self, run_id: str, jobs: Iterable[str] = ()) -> dict[str, str]:
        """The types of a run's keys, and of those that arq has of its jobs."""
        names = (self.run(run_id), self.flight(run_id), self.blocks(run_id))
        return dict.fromkeys(names, "hash") | types_of_jobs(jobs)

    def events(self, ended_id: str) -> str:
        """The channel on which the end of a flow or run is told."""
        return self._name("events", ended_id)
