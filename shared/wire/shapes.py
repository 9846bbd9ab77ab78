"""Every value that crosses Redis but the jobs: its shape, and the codec that turns it into bytes, or refuses those."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH, MAX_NEIGHBOURS
from reckoner.shared.ids import MAX_ID_BYTES
from reckoner.shared.wire.codecs import Codec, DigestCodec

# Not `$`, before which a new line may stand.
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
# An id of the caller's, which has no more letters than bytes.
OuterId = Annotated[str, Meta(max_length=MAX_ID_BYTES)]
Count = Annotated[int, Meta(ge=0, le=2**53)]

# The most items that one basket, and the most places that the answer to one question, can have.
MAX_ITEMS = 1000
# The most bytes that the ids of one basket can have in sum: its job is kept whole with the dead letters when it fails.
MAX_BASKET_BYTES = 65_536

# What a similarity takes besides is fewer.
MAX_PARAMETERS = 20

# The answer of a user's flow where the snapshot does not know the user, who then has no list.
UNKNOWN_USER = b"unknown user"

# Who goes first: what somebody waits for, or all else.
Lane = Literal["click", "batch"]


class UserSpec(Struct, frozen=True, tag="user", forbid_unknown_fields=True):
    """What a job for one user asks for."""

    user: OuterId
    generation: Id


class BlockSpec(Struct, frozen=True, tag="block", forbid_unknown_fields=True):
    """What every block of a run asks for; which users it has follows from the flow's block number."""

    run: Id
    generation: Id
    block_size: Annotated[int, Meta(ge=1, le=MAX_BLOCK_USERS)]
    since: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")]
    """The generation that was current when the run began, empty when there was none."""


class FitSpec(Struct, frozen=True, tag="fit", forbid_unknown_fields=True, omit_defaults=True):
    """What the fit of a model asks for."""

    snapshot: Id
    similarity: Annotated[str, Meta(max_length=64)]
    neighbours: Annotated[int, Meta(ge=1, le=MAX_NEIGHBOURS)]
    shrink: Annotated[float, Meta(ge=0)]
    list_length: Annotated[int, Meta(ge=1, le=MAX_LIST_LENGTH)]
    parameters: Annotated[dict[str, float], Meta(max_length=MAX_PARAMETERS)] = {}
    """What else the similarity takes, by the names of a configuration's fields."""
    heals: bool = False
    """Whether a damaged model is built again: no record is written then and no pointer moves."""


class BasketSpec(Struct, frozen=True, tag="basket", forbid_unknown_fields=True):
    """What a job for a basket asks for: the list for somebody of whom nothing is known but these items."""

    items: Annotated[list[OuterId], Meta(min_length=1, max_length=MAX_ITEMS)]
    """Distinct, in the order of their bytes, of which they have at most `MAX_BASKET_BYTES` in sum."""
    generation: Id

    def __post_init__(self) -> None:
        if sum(len(item.encode()) for item in self.items) > MAX_BASKET_BYTES:
            raise ValueError(f"The ids of a basket have more than {MAX_BASKET_BYTES:,} bytes in sum.")


class SimilarSpec(Struct, frozen=True, tag="similar", forbid_unknown_fields=True):
    """The question for an item's neighbours in a generation's model, or for its similarity to one other item."""

    item: OuterId
    other: OuterId | None
    generation: Id
    n: Annotated[int, Meta(ge=1, le=MAX_ITEMS)]


class HistorySpec(Struct, frozen=True, tag="history", forbid_unknown_fields=True):
    """The question for what a user has had, in the snapshot of a generation; the first `n` of it."""

    user: OuterId
    generation: Id
    n: Annotated[int, Meta(ge=1, le=MAX_ITEMS)]


ScoringSpec = UserSpec | BlockSpec | BasketSpec
QuestionSpec = SimilarSpec | HistorySpec
# What somebody waits for.
ClickSpec = UserSpec | BasketSpec | QuestionSpec
Spec = ScoringSpec | FitSpec | QuestionSpec


class Plan(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where the chunk tasks of a flow begin and end: task `i` has the items `bounds[i]` to before `bounds[i + 1]`."""

    bounds: Annotated[list[Count], Meta(min_length=1, max_length=501)]


class Best(Struct, array_like=True, frozen=True, tag="best", forbid_unknown_fields=True):
    """The partial of a scoring task: for each user of the job its best candidates, as little-endian arrays."""

    counts: bytes
    """uint32, how many candidates each user has."""
    items: bytes
    """uint32, the candidates of all users one after the other, best first."""
    scores: bytes
    """float32, beside `items`."""
    reasons: bytes
    """uint32, the history item with the largest share of each score, beside `items`."""


class Part(Struct, array_like=True, frozen=True, tag="part", forbid_unknown_fields=True):
    """The partial of a fit task: the name (which is the hash) of the object in the store that holds its rows."""

    name: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


Partial = Best | Part


def digest_context(flow_id: str, index: int, bounds: Sequence[int], block: int | None = None) -> str:
    """The place that the partial of a chunk task is sealed for: its users, and its items by the plan's bounds.

    Where the server lost a plan, another one may have taken its place, with other bounds.
    """
    place = f"{flow_id}:{index}:{bounds[index]}-{bounds[index + 1]}"
    return place if block is None else f"{place}:{block}"


class Trace(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Who did a chunk task, and when, in milliseconds since the epoch by that worker's clock."""

    worker: str
    started_ms: float
    ended_ms: float


class Outcome(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """How a block of a run ended, counted in users and, for the churn, in list places."""

    done: Count = 0
    empty: Count = 0
    places: Count = 0
    """Items in the new lists of users who had a list before."""
    fresh: Count = 0
    """Those of them that the list before did not have."""
    reason: str = ""
    tasks: dict[str, Count] = {}
    """How many of its chunk tasks each worker did."""


# What readers read may get more fields within a format, and who does not know them ignores them: a release that did not
# would take the lists of the next one for damaged.
class ScoredItem(Struct, frozen=True):
    """One place of a cached list: an item, its score and the history item that did most for it."""

    item: str
    score: float
    because: str


class Result(Struct, frozen=True):
    """One user's cached list, best first."""

    format: Literal[1]
    generation: Id
    items: list[ScoredItem]


class BasketResult(Struct, frozen=True):
    """The cached list of a basket, best first, and which of its items the snapshot does not know."""

    format: Literal[1]
    generation: Id
    items: list[ScoredItem]
    unknown: list[str]


class SimilarItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One neighbour of an item."""

    item: str
    similarity: float


class Neighbours(Struct, frozen=True, tag="neighbours", forbid_unknown_fields=True):
    """An item's neighbours in a model, the most similar first, ties to the smaller index."""

    users: Count
    """How many users have the item."""
    items: list[SimilarItem]


class Pair(Struct, frozen=True, tag="pair", forbid_unknown_fields=True):
    """How similar two items are, under a model's configuration and whether or not the model has kept it."""

    similarity: float
    users: Count
    """How many users have the one item, `other_users` the other, and `shared_users` both."""
    other_users: Count
    shared_users: Count


class HistoryItem(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that a user has had; the weight is None where all weigh 1, the time where the data have none."""

    item: str
    weight: float | None
    time_ms: int | None


class History(Struct, frozen=True, tag="history", forbid_unknown_fields=True):
    """What a user has had: how much, and the first of it, the newest first where the data have times."""

    count: Count
    items: list[HistoryItem]


class Unknown(Struct, frozen=True, tag="unknown", forbid_unknown_fields=True):
    """The answer to a question about a user or items that the snapshot does not know."""

    ids: list[str]


Reply = Neighbours | Pair | History | Unknown


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What a generation fixes beside its model; closed, since who does not know an option computes other lists."""

    list_length: Annotated[int, Meta(ge=1, le=MAX_LIST_LENGTH)]
    exclude_history: bool = True


class Record(Struct, frozen=True):
    """What a generation was made with, and the list for a user who has none."""

    format: Literal[1]
    generation: Id
    model: Id
    snapshot: Id
    options: Options
    made_ms: Count
    users: Count
    popular: Annotated[list[str], Meta(max_length=MAX_LIST_LENGTH)]


Name = Annotated[str, Meta(max_length=300)]


class Running(Struct, frozen=True):
    """A job that a worker runs, and since when by that worker's clock."""

    job: Name
    since_ms: Count


class Beat(Struct, frozen=True, omit_defaults=True):
    """What a worker says of itself, once a second or more often; its moments are by its own clock."""

    format: Literal[1]
    worker: Name
    host: Name
    pid: Count
    version: Name
    """The release of Ready Reckoner that it runs; empty when it is a checkout that is not installed."""
    started_ms: Count
    beat_ms: Count
    """When it said this."""
    memory_bytes: Count
    """What its process holds in memory: resident now, or the most it ever was where only that can be known."""
    jobs: Annotated[list[Running], Meta(max_length=1000)]
    lease_ms: Count
    """After how long without a sign of it others take over what it runs."""
    draining: bool = False
    """Whether it claims nothing any more, and ends when it has done what it runs."""
    trouble: Name = ""
    """Why it cannot use the store, and claims nothing until it can; empty while it can."""


SPEC: Codec[Spec] = DigestCodec(Spec)
PLAN: Codec[Plan] = DigestCodec(Plan)
PARTIAL: DigestCodec[Partial] = DigestCodec(Partial)
TRACE: Codec[Trace] = Codec(Trace)
OUTCOME: Codec[Outcome] = Codec(Outcome)
RESULT: Codec[Result] = Codec(Result, "json")
BASKET: Codec[BasketResult] = Codec(BasketResult, "json")
REPLY: Codec[Reply] = Codec(Reply, "json")
RECORD: Codec[Record] = Codec(Record, "json")
BEAT: Codec[Beat] = Codec(Beat, "json")
