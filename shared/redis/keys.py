"""The names of all keys in Redis.

`p` is the prefix of the settings. Unfinished flows and runs live seven days from the last look, ended ones an hour.
A job's score is its place in the queue, plus 1e14 while it is claimed, plus 2e14 while it waits for its next try.

| key | type | written by | lives |
| --- | --- | --- | --- |
| `p:queue:LANE` | sorted set, job by place | creators, claim, settle | for ever, empty when idle |
| `p:queue:LANE:leases` | sorted set, job by deadline | claim, renew, settle, unheld | for ever, empty when idle |
| `p:queue:LANE:wake` | list, at most 64 tokens | creators of jobs, claim, settle | for ever |
| `p:queue:LANE:paused` | string, since when | pause; deleted by resume | for ever |
| `arq:job:ID` | string, the body | creators of jobs | seven days |
| `arq:in-progress:ID` | string, fencing token of the claim | claim | a day after the last renewal |
| `arq:retry:ID` | string, starts without a good end | claim, settle | a day |
| `p:live:LANE` | sorted set, `flow:ID` or `run:ID` by next look | scripts of flows and runs | for ever |
| `p:flow:ID` | hash | the flow's scripts | unfinished, ended |
| `p:flow:ID:partials` | hash, task index to partial | partial; dropped by end | unfinished |
| `p:flow:ID:tasks` | hash, task index to who, when | partial | unfinished, ended |
| `p:join:GENERATION:HASH`, `p:join:GENERATION:basket:HASH` | string, flow id | create, retry, end | unfinished |
| `p:join:GENERATION:filtered:HASH` | string, flow id | the same | unfinished |
| `p:join:GENERATION:question:HASH`, `p:join:fit:GENERATION` | string, flow id | the same | unfinished |
| `p:join:model:MODEL`, `p:join:evaluation:HASH` | string, flow id | the same | unfinished |
| `p:rec:GENERATION:USER` | string, JSON | reduce | `RECKONER_RESULT_TTL_S`, or until forget |
| `p:basket:GENERATION:HASH` | string, JSON | reduce | an hour |
| `p:filtered:GENERATION:FILTER:USER` | string, JSON, a list with a filter, by the filter's hash | reduce | an hour |
| `p:filtered-basket:GENERATION:FILTER:HASH` | string, JSON, likewise | reduce | an hour |
| `p:event-stream` | stream, each event's user and JSON | record, join_histories | for ever, until it is imported |
| `p:recent:USER` | list, each of the user's events: its id, a space, JSON | the same | for ever, as its events |
| `p:left:USER` | string, the items that lists leave out | the same, hide_for | for ever, as its events |
| `p:hides:USER` | set, what the user does not want to see | hide_for | for ever, until it is undone |
| `p:recents` | sorted set, the users with one of these three, or who have lost them, all 0 | the same | for ever |
| `p:recent-versions` | hash, those users to when these three have changed, in microseconds | the same | for ever |
| `p:later` | hash, user to the id of the last event beyond the counted | record, trim | for ever, as its events |
| `p:forgotten` | hash, `key` and the hashes of forgotten users, whose events are refused | forget | for ever |
| `p:taken` | string, the id up to which an import has taken events | take | for ever |
| `p:event:HASH` | string, an event with this id was recorded | record | a day |
| `p:refreshed:USER` | string, a job for the user's list was made for an event | record | a quarter of a second |
| `p:stale` | sorted set, users whose lists are old | record, hide_for, finish, promote | for ever, until it is made |
| `p:shown:USER` | hash, item to its impressions | impress | twenty buckets of time |
| `p:hidden` | sorted set, hidden item by until, ms | hide, replace_hidden | for ever, until it is undone or over |
| `p:hidden:version` | string, how often that has changed | hide, replace_hidden | for ever |
| `p:hidden:by-hand` | sorted set, what people hide of it, while items are not available | the same | likewise |
| `p:unavailable` | sorted set, item that is not available to until, ms | hide | until it is available |
| `p:unavailable:of` | string, the snapshot that says so, and when that was looked at, ms | a worker | for ever |
| `p:hidden:changes` | stream, about 1,000 changed items to until, ms, by version | the same | for ever |
| `p:hidden:new:ID` | sorted set, what is to be hidden | the client; renamed by it or replace_hidden | ten minutes |
| `p:mask:HASH` | sorted set, the hidden items of a run | who starts the run | eight days |
| `p:generation`, `p:generation:previous`, `p:generation:newest` | string | adopt, flip | for ever |
| `p:generations` | hash, generation with lists to its snapshot, how many are gone | adopt, start, forget | for ever |
| `p:held` | hash, generation whose lists were all computed to JSON | close; deleted by forget | for ever |
| `p:barred` | hash, generation that was rolled back to when, ms | promote; deleted by promote | for ever |
| `p:store` | string, token of its store | the first user of both; `store take` | for ever |
| `p:record:GENERATION` | string, JSON | adopt, start | for ever while a pointer names it, else eight days |
| `p:titles:SNAPSHOT` | hash, item to title | the reduce of a fit | as the records that name the snapshot |
| `p:tags:SNAPSHOT` | hash, item to JSON, the tags that were imported | the reduce of a fit | likewise |
| `p:lists:SNAPSHOT` | hash, name of a list to JSON, its items | the reduce of a fit | likewise |
| `p:tagging` | hash, item to JSON, all its tags, which were changed live | tag; deleted by tag | for ever |
| `p:tagging:version` | string, how many live changes of tags there were | tag | for ever |
| `p:run:ID` | hash | start, end, tend, flip, curtail, close, retry_block | unfinished, ended; a night's eight days |
| `p:run:ID:flight` | hash, block to flow | start, end, tend, retry_block; dropped by close | unfinished |
| `p:run:ID:blocks` | hash, block to outcome | end, curtail, retry_block; dropped if it passed | unfinished, ended |
| `p:run-of:GENERATION` | string, run id | start, retry_block; dropped by close | unfinished |
| `p:night:DATE` | string, the date's last night | begin_night | eight days |
| `p:nights:now` | string, the night under way | begin_night; deleted by advance_night | eight days |
| `p:nights:driver` | string, token of the worker that drives it | that worker | ten seconds |
| `p:nights:state:ID` | hash, the night's state | begin_night, advance_night | eight days |
| `p:history` | hash, id of what has ended to JSON | remember | for ever, the entries of all orders |
| `p:history:order` | sorted set, those ids but the next two, by their start | remember | for ever, the newest 400 |
| `p:history:imports` | sorted set, the ids of imports by when they started | remember | for ever, the newest 400 |
| `p:history:evaluations` | sorted set, the ids of evaluations likewise | remember | for ever, the newest 400 |
| `p:dead` | stream, at most 1,000 dead letters | end, refuse, set_aside; deleted by retry, retry_block | for ever |
| `p:refused` | hash, kind of bytes to how many | refuse, set_aside | for ever |
| `p:workers` | sorted set, worker by its last beat | each worker, once a second | a lease and ten seconds |
| `p:worker:ID` | string, JSON, the worker's state | that worker, once a second | a lease and ten seconds |
| `p:worker:ID:mail` | list, words to the worker | tell | ten seconds |
| `p:counts` | hash, a metric's count to a number | each worker and `serve`, by count | for ever |
| `p:counted:ID` | string, number of its last batch of counts | count | an hour |
| `p:trouble:ID` | string, since when a job, run or artifact is in trouble, ms | a worker | `RECKONER_TROUBLE_S` twice |
| `p:probe:ID` | string | `doctor`, which removes it | ten seconds |
| `p:heal:MODEL` | string, the damage for which its fit was enqueued | healing | seven days |
| `p:evaluation:ID` | string, token of the evaluation or comparison that deletes this artifact | it | a minute |
| `p:trial:HASH` | string, the figures of a trial | `tune` | seven days |
| `p:scrub` | string, worker that verifies all artifacts | that worker | ten minutes, a day afterwards |
| `p:sweeper` | string, token of the lock | sweeper | five seconds |
| `p:retention` | string, worker that deletes unreferenced artifacts | that worker | ten minutes |
| `p:forgetting` | string, token of the lock | clean-up of old generations | ten seconds |
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
    """Where arq keeps the fencing token of a running job."""
    return RUNNING + job_id


def leases_key(queue: str) -> str:
    """The deadlines of a queue's leases."""
    return queue + LEASES


def wake_key(queue: str) -> str:
    """The tokens that wake waiting workers."""
    return queue + WAKE


def paused_key(queue: str) -> str:
    """The mark of a paused queue."""
    return queue + PAUSE


def types_of_jobs(job_ids: Iterable[str]) -> dict[str, str]:
    """The types of arq's keys of some jobs."""
    names: dict[str, str] = {}
    for job_id in job_ids:
        names |= {job_key(job_id): "string", tries_key(job_id): "integer", in_progress_key(job_id): "string"}
    return names


def basket_hash(items: Sequence[str], *, ordered: bool = False) -> str:
    """The SHA-256 of a basket's distinct items, sorted by bytes unless `ordered`, each after its length and a colon."""
    digest = sha256()
    for item in (item.encode() for item in (items if ordered else sorted(set(items)))):
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
        """The queue of the click lane."""
        return self._name("queue", CLICK)

    @property
    def batch(self) -> str:
        """The queue of the batch lane."""
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
        """The prefix of both live sets, as the scripts take it."""
        return self._name("live")

    def live_of(self, lane: Lane) -> str:
        """The live set of a lane: its unfinished flows, and in the batch lane the unfinished runs."""
        return self._name("live", lane)

    @property
    def all_live(self) -> tuple[str, str]:
        """Both live sets, in the order of the sweeper."""
        return self.live_of(CLICK), self.live_of(BATCH)

    @property
    def dead(self) -> str:
        """The dead letters."""
        return self._name("dead")

    @property
    def refused(self) -> str:
        """The counts of refused bytes, by kind."""
        return self._name("refused")

    @property
    def workers(self) -> str:
        """The workers by their last beat."""
        return self._name("workers")

    @property
    def counts(self) -> str:
        """The counts of all processes together."""
        return self._name("counts")

    def counted(self, process: str) -> str:
        """The number of the last batch of counts that a process has added."""
        return self._name("counted", process)

    def beat(self, worker: str) -> str:
        """A worker's heartbeat."""
        return self._name("worker", worker)

    def mail(self, worker: str) -> str:
        """The words to a worker."""
        return self._name("worker", worker, "mail")

    def trouble(self, name: str) -> str:
        """When the trouble of a job, run or artifact began, and when it was last seen."""
        return self._name("trouble", name.replace(":", "-"))

    def probe(self, look: str) -> str:
        """The key that `doctor` writes to test the server."""
        return self._name("probe", look)

    @property
    def sweeper(self) -> str:
        """The sweeper's lock."""
        return self._name("sweeper")

    @property
    def scrub(self) -> str:
        """The lock of the daily verification of all artifacts."""
        return self._name("scrub")

    @property
    def retention(self) -> str:
        """The lock of the garbage collection of artifacts."""
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
        """The pointer to the generation of the newest model."""
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
    def held(self) -> str:
        """What the generations hold for which a run has computed all lists."""
        return self._name("held")

    @property
    def barred(self) -> str:
        """The generations that were rolled back: no run makes them current."""
        return self._name("barred")

    @property
    def store(self) -> str:
        """The token that ties a store to this prefix."""
        return self._name("store")

    @property
    def cleanup(self) -> str:
        """The lock of the clean-up of old generations."""
        return self._name("forgetting")

    def flow(self, flow_id: str) -> str:
        """A flow's state."""
        return self._name("flow", flow_id)

    def partials(self, flow_id: str) -> str:
        """A flow's partials."""
        return self._name("flow", flow_id, "partials")

    def tasks(self, flow_id: str) -> str:
        """The traces of a flow's chunk tasks."""
        return self._name("flow", flow_id, "tasks")

    @property
    def joins(self) -> str:
        """The prefix of all joins."""
        return self._name("join", "")

    def join_user(self, generation: str, user: str) -> str:
        """The flow that is under way for a user."""
        return self._name("join", generation, sha256(user.encode()).hexdigest()[:32])

    def join_basket(self, generation: str, items: Sequence[str], *, ordered: bool = False) -> str:
        """The flow that is under way for a basket."""
        return self._name("join", generation, "basket", basket_hash(items, ordered=ordered))

    def join_filtered(self, generation: str, spec: bytes) -> str:
        """The flow that is under way for a list with a filter, by its encoded spec."""
        return self._name("join", generation, "filtered", sha256(spec).hexdigest()[:32])

    def join_question(self, generation: str, spec: bytes) -> str:
        """The flow that is under way for a question, by its encoded spec."""
        return self._name("join", generation, "question", sha256(spec).hexdigest()[:32])

    def join_fit(self, generation: str) -> str:
        """The fit that is under way for a generation."""
        return self._name("join", "fit", generation)

    def join_model(self, model: str) -> str:
        """The fit that makes a model without a generation. A user's own fit does not join it."""
        return self._name("join", "model", model)

    def join_evaluation(self, spec: bytes) -> str:
        """The scoring of an evaluation that is under way, by its encoded spec."""
        return self._name("join", "evaluation", sha256(spec).hexdigest()[:32])

    def evaluation(self, artifact: str) -> str:
        """The lock of an evaluation's training snapshot or a comparison's model: who deletes it at the end."""
        return self._name("evaluation", artifact)

    def trial(self, trial: bytes) -> str:
        """The figures of a trial of a tuning, by all that they depend on."""
        return self._name("trial", sha256(trial).hexdigest()[:32])

    def heal(self, model: str) -> str:
        """The damage of a model for which a fit was enqueued."""
        return self._name("heal", model)

    def record(self, generation: str) -> str:
        """A generation's record."""
        return self._name("record", generation)

    def titles(self, snapshot: str) -> str:
        """A snapshot's titles."""
        return self._name("titles", snapshot)

    def tags(self, snapshot: str) -> str:
        """A snapshot's tags."""
        return self._name("tags", snapshot)

    def named_lists(self, snapshot: str) -> str:
        """A snapshot's named lists."""
        return self._name("lists", snapshot)

    @property
    def snapshot_stems(self) -> tuple[str, str, str]:
        """The prefixes of the keys that live as the records that name their snapshot, as the scripts take them."""
        return self.titles(""), self.tags(""), self.named_lists("")

    @property
    def tagging(self) -> str:
        """The live tags of items."""
        return self._name("tagging")

    @property
    def tagging_version(self) -> str:
        """The number of live changes of tags."""
        return self._name("tagging", "version")

    def result(self, generation: str, user: str) -> str:
        """A user's cached list."""
        return f"{self.prefix}:rec:{generation}:{user}"

    def basket(self, generation: str, items: Sequence[str], *, ordered: bool = False) -> str:
        """The cached list of a basket."""
        return self._name("basket", generation, basket_hash(items, ordered=ordered))

    def filtered(self, generation: str, wanted: str, user: str) -> str:
        """A user's cached list with a filter, by the filter's hash."""
        return self._name("filtered", generation, wanted, user)

    def filtered_basket(self, generation: str, wanted: str, items: Sequence[str], *, ordered: bool = False) -> str:
        """The cached list of a basket with a filter."""
        return self._name("filtered-basket", generation, wanted, basket_hash(items, ordered=ordered))

    def run(self, run_id: str) -> str:
        """A run's state."""
        return self._name("run", run_id)

    def flight(self, run_id: str) -> str:
        """The blocks of a run that are under way."""
        return self._name("run", run_id, "flight")

    def blocks(self, run_id: str) -> str:
        """The outcomes of a run's blocks."""
        return self._name("run", run_id, "blocks")

    def run_of(self, generation: str) -> str:
        """The run that is under way for a generation."""
        return self._name("run-of", generation)

    def night(self, date: str) -> str:
        """The last night of a date."""
        return self._name("night", date)

    def night_state(self, night_id: str) -> str:
        """A night's state."""
        return self._name("nights", "state", night_id)

    @property
    def night_now(self) -> str:
        """The night under way."""
        return self._name("nights", "now")

    @property
    def night_driver(self) -> str:
        """The lock of the worker that drives the night under way."""
        return self._name("nights", "driver")

    @property
    def event_stream(self) -> str:
        """The events that no live snapshot holds."""
        return self._name("event-stream")

    def recent(self, user: str) -> str:
        """A user's events in the stream."""
        return self._name("recent", user)

    def left(self, user: str) -> str:
        """What a user's lists leave out."""
        return f"{self.prefix}:left:{user}"

    def hides(self, user: str) -> str:
        """What a user does not want to see."""
        return self._name("hides", user)

    @property
    def recents(self) -> str:
        """The users with a recent history or hides."""
        return self._name("recents")

    @property
    def recent_versions(self) -> str:
        """The versions of what is known of users beside a snapshot."""
        return self._name("recent-versions")

    @property
    def later(self) -> str:
        """The users with events that count from the next import on."""
        return self._name("later")

    @property
    def taken(self) -> str:
        """The mark up to which an import has taken the events."""
        return self._name("taken")

    @property
    def forgotten(self) -> str:
        """The hashes of forgotten users, and their key."""
        return self._name("forgotten")

    def event(self, event_id: str) -> str:
        """The mark of a recorded event, by its id of the caller's."""
        return self._name("event", sha256(event_id.encode()).hexdigest()[:32])

    def refreshed(self, user: str) -> str:
        """The mark of a user whose list was just computed again for an event."""
        return self._name("refreshed", user)

    def shown(self, user: str) -> str:
        """What was shown to a user lately."""
        return self._name("shown", user)

    @property
    def hidden(self) -> str:
        """The hidden items."""
        return self._name("hidden")

    @property
    def hidden_version(self) -> str:
        """The version of the hidden items."""
        return f"{self.prefix}:hidden:version"

    @property
    def hidden_by_hand(self) -> str:
        """What people hide, while items are not available."""
        return self._name("hidden", "by-hand")

    @property
    def unavailable(self) -> str:
        """The items that are not available."""
        return self._name("unavailable")

    @property
    def unavailable_of(self) -> str:
        """The snapshot that says which items are not available."""
        return f"{self.unavailable}:of"

    @property
    def hidden_changes(self) -> str:
        """The latest changes of the hidden items."""
        return self._name("hidden", "changes")

    def hidden_upload(self, token: str) -> str:
        """Items that are to be the hidden ones."""
        return self._name("hidden", "new", token)

    def mask(self, mask: str) -> str:
        """The hidden items that a run leaves out."""
        return self._name("mask", mask)

    @property
    def stale(self) -> str:
        """The users whose lists are to be computed again."""
        return self._name("stale")

    @property
    def history(self) -> str:
        """The entries of the history."""
        return self._name("history")

    @property
    def history_order(self) -> str:
        """The order of the history's entries but imports and evaluations."""
        return self._name("history", "order")

    @property
    def history_imports(self) -> str:
        """The order of the history's imports, which may be so frequent that they would drop all others."""
        return self._name("history", "imports")

    @property
    def history_evaluations(self) -> str:
        """The order of the history's evaluations, which may be as frequent."""
        return self._name("history", "evaluations")

    @property
    def history_orders(self) -> tuple[str, str, str]:
        """All orders of the history."""
        return self.history_order, self.history_imports, self.history_evaluations

    @property
    def rights(self) -> str:
        """The rights that a Redis user needs, as `ACL SETUSER` takes them."""
        commands = "+@connection +@read +@write +@scripting +@transaction +@pubsub -@dangerous +info +time"
        return f"~{self._name('*')} ~arq:* &{self.events('*')} {commands}"

    @property
    def types(self) -> dict[str, str]:
        """The types of the keys that flows and runs share."""
        zsets = dict.fromkeys(
            (
                *(*self.lanes, *map(leases_key, self.lanes), *self.all_live, self.workers, *self.history_orders),
                *(self.recents, self.stale, self.hidden, self.hidden_by_hand, self.unavailable),
            ),
            "zset",
        )
        lists = dict.fromkeys(map(wake_key, self.lanes), "list")
        claims = (self.sweeper, self.scrub, self.retention, self.cleanup)
        strings = (*map(paused_key, self.lanes), *claims, self.store, *self.pointers, self.night_now)
        strings += (self.night_driver, self.hidden_version, self.taken, self.unavailable_of)
        hashes = (
            self.generations,
            self.held,
            self.barred,
            self.tagging,
            self.history,
            self.recent_versions,
            self.later,
            self.forgotten,
            self.counts,
        )
        lists |= {self.event_stream: "stream", self.hidden_changes: "stream"}
        return zsets | lists | dict.fromkeys(strings, "string") | dict.fromkeys(hashes, "hash")

    def types_of_flow(self, flow_id: str, jobs: Iterable[str] = ()) -> dict[str, str]:
        """The types of the keys of a flow and its jobs."""
        names = (self.flow(flow_id), self.partials(flow_id), self.tasks(flow_id))
        return dict.fromkeys(names, "hash") | types_of_jobs(jobs)

    def types_of_run(self, run_id: str, jobs: Iterable[str] = ()) -> dict[str, str]:
        """The types of the keys of a run and its jobs."""
        names = (self.run(run_id), self.flight(run_id), self.blocks(run_id))
        return dict.fromkeys(names, "hash") | types_of_jobs(jobs)

    def events(self, ended_id: str) -> str:
        """The channel that announces the end of a flow or run."""
        return self._name("events", ended_id)
