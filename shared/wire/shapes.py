"""The shapes and codecs of all values in Redis, except the jobs."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH, MAX_NEIGHBOURS, MAX_RECENCY, MAX_SPARE
from reckoner.shared.event_types import Role
from reckoner.shared.ids import MAX_ID_BYTES
from reckoner.shared.wire.codecs import Codec, DigestCodec
from reckoner.shared.wire.filters import Filter

# `$` would allow a trailing newline.
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
# An id of the caller's: it has at most as many characters as bytes.
OuterId = Annotated[str, Meta(max_length=MAX_ID_BYTES)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
# Unset for 0, so that generations without recency have the ids and the bytes that they had before there was any.
Recency = Annotated[float, Meta(gt=0, le=MAX_RECENCY)] | UnsetType
Spare = Annotated[int, Meta(ge=0, le=MAX_SPARE)]

# The maximum of items in a basket, and in the answer to a question.
MAX_ITEMS = 1000
# The maximum of bytes of all ids in a basket: a dead letter holds the whole job.
MAX_BASKET_BYTES = 65_536

MAX_WEIGHT = 1e30
# Milliseconds since 1970, within the years of a calendar.
LATEST_MS = 2**53
Time = Annotated[int, Meta(ge=-LATEST_MS, le=LATEST_MS)]

# The name of a part in the store: the hash of its bytes.
PartName = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

MAX_PARAMETERS = 20

# The answer of a flow whose user is not in the snapshot.
UNKNOWN_USER = b"unknown user"

# `click` goes first: a caller waits for it.
Lane = Literal["click", "batch"]


class UserSpec(Struct, frozen=True, tag="user", forbid_unknown_fields=True, omit_defaults=True):
    """A job for one user."""

    user: OuterId
    generation: Id
    filter: Filter | None = None
    """The filter of the list, which is then cached beside the user's own."""


class BlockSpec(Struct, frozen=True, tag="block", forbid_unknown_fields=True):
    """A block of a run; its users follow from the flow's block number."""

    run: Id
    generation: Id
    block_size: Annotated[int, Meta(ge=1, le=MAX_BLOCK_USERS)]
    since: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")]
    """The generation that was current when the run began, empty when there was none."""


class FitSpec(Struct, frozen=True, tag="fit", forbid_unknown_fields=True, omit_defaults=True):
    """The fit of a model."""

    snapshot: Id
    similarity: Annotated[str, Meta(max_length=64)]
    neighbours: Annotated[int, Meta(ge=1, le=MAX_NEIGHBOURS)]
    shrink: Annotated[float, Meta(ge=0)]
    list_length: Annotated[int, Meta(ge=1, le=MAX_LIST_LENGTH)]
    parameters: Annotated[dict[str, float], Meta(max_length=MAX_PARAMETERS)] = {}
    """Further parameters of the similarity, by the field names of `ModelConfig`."""
    only_model: bool = field(default=False, name="heals")
    """Whether only the model is published, to replace a damaged one or to evaluate it: no record, no pointer."""
    recency: Recency = UNSET
    """As in `Options`."""
    spare: Spare = 0
    """As in `Record`."""

    @property
    def options(self) -> "Options":
        """The options of the generation."""
        return Options(self.list_length, recency=self.recency)


class EvaluationSpec(Struct, frozen=True, tag="evaluation", forbid_unknown_fields=True, omit_defaults=True):
    """The lists of an evaluation: some users of a snapshot, scored by a model of it. They are put into the store."""

    snapshot: Id
    model: Id
    users: PartName
    """The part with the indices of the users; see `reckoner.shared.store.evaluation_parts`."""
    list_length: Annotated[int, Meta(ge=1, le=MAX_LIST_LENGTH)]
    recency: Recency = UNSET
    """As in `Options`."""
    with_reasons: bool = False


class BasketSpec(Struct, frozen=True, tag="basket", forbid_unknown_fields=True, omit_defaults=True):
    """A job for a basket: the list for a visitor of whom only these items are known."""

    items: Annotated[list[OuterId], Meta(min_length=1, max_length=MAX_ITEMS)]
    """Distinct, in byte order or `ordered`, at most `MAX_BASKET_BYTES` in sum."""
    generation: Id
    ordered: bool = False
    """Whether the items are in the order of time, the oldest first, for a generation with recency."""
    filter: Filter | None = None
    """The filter of the list."""

    def __post_init__(self) -> None:
        if sum(len(item.encode()) for item in self.items) > MAX_BASKET_BYTES:
            raise ValueError(f"The ids of a basket have over {MAX_BASKET_BYTES:,} bytes in sum.")


class SimilarSpec(Struct, frozen=True, tag="similar", forbid_unknown_fields=True):
    """A question: an item's neighbours in a generation's model, or its similarity to another item."""

    item: OuterId
    other: OuterId | None
    generation: Id
    n: Annotated[int, Meta(ge=1, le=MAX_ITEMS)]


class HistorySpec(Struct, frozen=True, tag="history", forbid_unknown_fields=True):
    """A question: the first `n` items of a user's history, in the snapshot of a generation."""

    user: OuterId
    generation: Id
    n: Annotated[int, Meta(ge=1, le=MAX_ITEMS)]


ScoringSpec = UserSpec | BlockSpec | BasketSpec
QuestionSpec = SimilarSpec | HistorySpec
# The jobs of the click lane.
ClickSpec = UserSpec | BasketSpec | QuestionSpec
# The jobs that read and write the store only. All others belong to a generation.
StoreSpec = FitSpec | EvaluationSpec
Spec = ScoringSpec | StoreSpec | QuestionSpec


class Frozen(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What counts for the users of a scoring job beside the snapshot: all its tasks score the same.

    Arrays are little-endian. Users without events and hides are left out of them.
    """

    version: bytes = b""
    """The version of a single user's recent history, empty without one and for blocks."""
    users: bytes = b""
    """uint32, ascending: the users by their number in the job."""
    counts: bytes = b""
    """uint32, the number of events of each of these users."""
    items: bytes = b""
    """uint32, the items of their events, in the order of the stream."""
    weights: bytes = b""
    """float64, beside `items`."""
    times: bytes = b""
    """int64, milliseconds since 1970, beside `items`."""
    counting: bytes = b""
    """uint8, beside `items`: 1 if the event counts."""
    left: bytes = b""
    """uint8, beside `items`: 1 if the event's item is left out of lists."""
    unknown: list[OuterId] = []
    """The items of a single user's events that are not in the snapshot, in the order of their bytes."""
    mask: PartName | None = None
    """The part of the store with the items that no list may hold: hidden ones, and those that a filter leaves out."""
    tagging: bytes = b""
    """The version of the live tags that a filter has read."""
    hidden: str | None = None
    """The hash of the items that were hidden from all, empty for none; None if it is the mask of the generation."""


class Plan(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The plan of a flow's chunk tasks: task `i` has the items, rows or users from bounds[i] to bounds[i + 1] - 1."""

    bounds: Annotated[list[Count], Meta(min_length=1, max_length=501)]
    popular: Count = 0
    """The number of popular items of a fit, whose rows are dense."""
    frozen: Frozen | None = None


class Best(Struct, array_like=True, frozen=True, tag="best", forbid_unknown_fields=True):
    """The partial of a scoring task: the best candidates of each user, as little-endian arrays."""

    counts: bytes
    """uint32, the number of candidates of each user."""
    items: bytes
    """uint32, the candidates of all users one after the other, best first."""
    scores: bytes
    """float32, beside `items`."""
    reasons: bytes
    """uint32, the history item with the largest share of each score, beside `items`."""


class Part(Struct, array_like=True, frozen=True, tag="part", forbid_unknown_fields=True):
    """The partial of a fit's or an evaluation's task: the name of the part with its rows or lists."""

    name: PartName


Partial = Best | Part


def digest_context(flow_id: str, index: int, bounds: Sequence[int], block: int | None = None) -> str:
    """What the digest of a chunk task's partial covers: the flow, the task, its items and its block.

    After a loss of data in Redis, a new plan may have other bounds.
    """
    context = f"{flow_id}:{index}:{bounds[index]}-{bounds[index + 1]}"
    return context if block is None else f"{context}:{block}"


class Trace(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The worker of a chunk task, and its times in milliseconds since 1970 by that worker's clock."""

    worker: str
    started_ms: float
    ended_ms: float


class Outcome(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The outcome of a block, counted in users."""

    done: Count = 0
    empty: Count = 0
    reason: str = ""
    tasks: dict[str, Count] = {}
    """The number of its chunk tasks by worker."""


# Readers ignore unknown fields, so that a format can get new fields.
class Event(Struct, array_like=True, frozen=True):
    """An interaction that was recorded: in the stream and in the recent history of its user."""

    item: OuterId
    role: Role
    weight: Annotated[float, Meta(gt=0, le=MAX_WEIGHT)]
    type: Annotated[str, Meta(max_length=MAX_ID_BYTES)]
    time_ms: Time | None
    """None until it is recorded: then for the time of the recording."""


class ScoredItem(Struct, array_like=True, frozen=True, gc=False):
    """A place of a cached list: an item, its score, and the history item with the largest share of it."""

    item: str
    score: float
    because: str


# Of a list with fewer places than it may have: the hash of the items that were hidden from all when it was computed,
# empty for none. Unset if it is that of the generation's record, and for longer lists.
NotedMask = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")] | UnsetType


class Result(Struct, frozen=True, omit_defaults=True):
    """One user's cached list, best first. Its key names the generation."""

    format: Literal[2]
    items: list[ScoredItem]
    unknown: list[str] = []
    """The items of the user's events that are not in the snapshot."""
    mask: NotedMask = UNSET


class FilteredResult(Result, frozen=True, omit_defaults=True):
    """The cached list of a user or a basket with a filter, and the versions of what it was computed with."""

    recent: str = ""
    """The version of the user's recent history."""
    tagging: str = ""
    """The version of the live tags, if the filter has tags."""


class BasketResult(Struct, frozen=True):
    """The cached list of a basket, best first, and its items that are not in the snapshot."""

    format: Literal[2]
    items: list[ScoredItem]
    unknown: list[str]
    mask: NotedMask = UNSET


class SimilarItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One neighbour of an item."""

    item: str
    similarity: float


class Neighbours(Struct, frozen=True, tag="neighbours", forbid_unknown_fields=True):
    """An item's neighbours in a model, most similar first, ties by the smaller index."""

    users: Count
    """The number of users with the item."""
    items: list[SimilarItem]


class Pair(Struct, frozen=True, tag="pair", forbid_unknown_fields=True):
    """The similarity of two items under a model's configuration, even if the model does not hold it."""

    similarity: float
    users: Count
    """The number of users with the item, `other_users` with the other, `shared_users` with both."""
    other_users: Count
    shared_users: Count


class HistoryItem(Struct, frozen=True, forbid_unknown_fields=True):
    """An item of a user's history; `weight` is None if all are 1, `time_ms` if the data have no times."""

    item: str
    weight: float | None
    time_ms: int | None


class History(Struct, frozen=True, tag="history", forbid_unknown_fields=True):
    """A user's history: its length, and its first items, newest first if the data have times."""

    count: Count
    items: list[HistoryItem]


class Unknown(Struct, frozen=True, tag="unknown", forbid_unknown_fields=True):
    """The answer to a question about ids that are not in the snapshot."""

    ids: list[str]


Reply = Neighbours | Pair | History | Unknown


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a generation; unknown ones are refused, since they would change the lists."""

    list_length: Annotated[int, Meta(ge=1, le=MAX_LIST_LENGTH)]
    exclude_history: bool = True
    recency: Recency = UNSET
    """Gamma: an item of a history weighs (1 + the number of the user's later items)^-gamma; unset for 0."""


class Record(Struct, frozen=True):
    """What a generation was made with, and its popular list."""

    format: Literal[2]
    generation: Id
    model: Id
    snapshot: Id
    options: Options
    made_ms: Count
    users: Count
    popular: Annotated[list[str], Meta(max_length=MAX_LIST_LENGTH + MAX_SPARE)]
    additions: Count = 0
    """The number of similarities that are added to score all users once; 0 if unknown."""
    mark: str | UnsetType = UNSET
    """The mark of the snapshot: the id in the stream up to which it holds the recorded events."""
    spare: Spare | UnsetType = UNSET
    """The number of further places of its lists, for readers that leave some out."""
    events: str | UnsetType = UNSET
    """The id in the stream up to which its runs count recorded events; unset if they count none."""
    mask: Id | UnsetType = UNSET
    """The hash of the hidden items that its runs leave out; unset if nothing was hidden."""

    @property
    def places(self) -> int:
        """The most places of its lists: what readers are promised, and the spare ones."""
        return self.options.list_length + (self.spare or 0)


class Holding(Struct, frozen=True):
    """The lists of a generation, since a run has computed all of them."""

    lists: Count
    empty: Count
    """The number of empty ones among them."""
    until_ms: Count
    """The earliest moment when one of them expires, by the server's clock."""


Name = Annotated[str, Meta(max_length=300)]


class Running(Struct, frozen=True):
    """A running job, and its start by the worker's clock."""

    job: Name
    since_ms: Count


class Beat(Struct, frozen=True, omit_defaults=True):
    """A worker's heartbeat, at least once a second; its times are by the worker's clock."""

    format: Literal[1]
    worker: Name
    host: Name
    pid: Count
    version: Name
    """The release of Ready Reckoner; empty in a checkout that is not installed."""
    started_ms: Count
    beat_ms: Count
    memory_bytes: Count
    """Resident memory of its process; the peak on systems that only report that."""
    jobs: Annotated[list[Running], Meta(max_length=1000)]
    lease_ms: Count
    """The time without a heartbeat until other workers take over its jobs."""
    draining: bool = False
    """Whether it claims no more jobs, and exits after its running ones."""
    trouble: Name = ""
    """Why the store is unavailable and the worker claims no jobs; empty otherwise."""
    imports: bool = False
    """Whether it has what imports need."""
    snapshot: Name | None = None
    """What its store names as the current snapshot, empty for none; None if unknown."""


class _PlanCodec(DigestCodec[Plan]):
    """A plan has the bytes that it had before there were the events or the field that it lacks."""

    def encode(self, value: Plan, context: str = "") -> bytes:
        """Encode a plan."""
        bare: Any = value
        if value.frozen is None:
            bare = (value.bounds, value.popular)
        elif value.frozen.hidden is None:
            bare = (value.bounds, value.popular, msgspec.structs.astuple(value.frozen)[:-1])
        return super().encode(bare, context)


class _ResultCodec(Codec[Result]):
    """A list of which not all places need to be decoded."""

    # Before the first place, and between two.
    _HEAD, _NEXT = b'{"format":2,"items":[', b"],["

    def first(self, data: bytes, n: int) -> Result:
        """A list with at least its first `n` places, or all. What comes after them is not looked at.

        Raises:
            WireError: the bytes do not have the shape.
        """
        cut = -1
        if data.endswith(b'"]]}'):
            # About as many bytes as these places have, and a few more; too few are decoded again.
            second = data.find(self._NEXT, len(self._HEAD))
            size = data.find(self._NEXT, second + 1) - second
            cut = data.find(self._NEXT, len(self._HEAD) + size * (n + 2)) if size > 0 else -1
        if cut > 0:
            try:
                # A cut within an id leaves its string open, which is no JSON.
                result: Result = self._decoder.decode(data[: cut + 1] + b"]}")
            except (msgspec.MsgspecError, ValueError):
                pass
            else:
                if len(result.items) >= n:
                    return result
        return self.decode(data)


SPEC: Codec[Spec] = DigestCodec(Spec)
PLAN: Codec[Plan] = _PlanCodec(Plan)
PARTIAL: DigestCodec[Partial] = DigestCodec(Partial)
TRACE: Codec[Trace] = Codec(Trace)
OUTCOME: Codec[Outcome] = Codec(Outcome)
EVENT: Codec[Event] = Codec(Event, "json")
RESULT = _ResultCodec(Result, "json")
BASKET: Codec[BasketResult] = Codec(BasketResult, "json")
FILTERED: Codec[FilteredResult] = Codec(FilteredResult, "json")
REPLY: Codec[Reply] = Codec(Reply, "json")
RECORD: Codec[Record] = Codec(Record, "json")
HOLDING: Codec[Holding] = Codec(Holding, "json")
BEAT: Codec[Beat] = Codec(Beat, "json")
