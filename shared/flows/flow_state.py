"""A flow as it is read from Redis, and what makes one unreadable."""

from dataclasses import dataclass
from typing import Literal

from reckoner.shared.errors import WireError
from reckoner.shared.wire.shapes import PLAN, SPEC, BlockSpec, Lane, Plan, QuestionSpec, Spec, UserSpec

State = Literal["split", "run", "reduce", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("split", "run", "reduce")
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
UNREADABLE = UserSpec("", "unreadable")


@dataclass(frozen=True)
class Flow:
    """A flow as it was read; every change is judged again by the script that makes it."""

    id: str
    state: State
    round: int
    spec: Spec
    plan: Plan | None
    looks: int
    join: str
    run: str
    block: int | None
    lane: Lane
    created_ms: int
    ended_ms: int | None
    reason: str
    answer: bytes

    @property
    def tasks(self) -> int:
        """Into how many chunk tasks the flow was split."""
        return len(self.plan.bounds) - 1 if self.plan else 0

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


def parse_count(value: bytes) -> int:
    """A number out of a hash in Redis.

    Raises:
        WireError: the bytes are none.
    """
    # As many digits as a float64 holds exactly, which is what Lua reckons in.
    if not value.isdigit() or len(value) > 15:
        raise WireError("A number of a flow is none.", data=value)
    return int(value)


class DamagedFlowError(WireError):
    """A flow's state in Redis cannot be read; `run` and `join` are what it says of them, as far as that can be read."""

    def __init__(self, flow_id: str, field: str, data: bytes, run: str, join: str) -> None:
        super().__init__(f"The field {field} of flow {flow_id} cannot be read.", data=data)
        self.flow_id, self.field, self.data, self.run, self.join = flow_id, field, data, run, join


def _lane(lane: str) -> Lane:
    match lane:
        case "click" | "batch":
            return lane
    raise WireError("A lane is none.")


def unreadable(flow_id: str, state: State, field: str, run: str = "", join: str = "") -> Flow:
    """A flow of which nothing is known but its state, and which field of it could not be read."""
    return Flow(
        id=flow_id,
        state=state,
        round=0,
        spec=UNREADABLE,
        plan=None,
        looks=0,
        join=join,
        run=run,
        block=None,
        lane="batch",
        created_ms=0,
        ended_ms=None,
        reason=f"the field {field} of its state could not be read",
        answer=b"",
    )


def decode_flow(flow_id: str, fields: dict[bytes, bytes], join_prefix: str) -> Flow:
    """The flow that a hash in Redis holds; its join, if it has one, starts with `join_prefix`.

    One that has ended and cannot be read counts as failed: nobody looks at it again, and somebody may wait for it.

    Raises:
        DamagedFlowError: a field of an unfinished flow is not what it should be.
    """
    reading = ""

    def field(name: str) -> bytes:
        nonlocal reading
        reading = name
        return fields.get(name.encode(), b"")

    try:
        state = field("state").decode()
        if state not in UNFINISHED + ENDED:
            raise WireError("No such state.")
        spec = SPEC.decode(field("spec"))
        flow = Flow(
            id=flow_id,
            state=state,
            round=parse_count(field("round")),
            spec=spec,
            plan=PLAN.decode(field("plan")) if b"plan" in fields else None,
            looks=parse_count(field("looks")),
            join=field("join").decode(),
            run=field("run").decode(),
            block=parse_count(field("block")) if isinstance(spec, BlockSpec) else None,
            lane=_lane(field("lane").decode()),
            created_ms=parse_count(field("created")),
            ended_ms=parse_count(field("ended")) if b"ended" in fields else None,
            reason=field("reason").decode(),
            answer=field("answer"),
        )
        # What the scripts reckon with has to be right too, or they would stop in the middle.
        for name in ("place", "rework"):
            parse_count(field(name))
        if parse_count(field("planned")) != flow.tasks or (flow.plan is None and state in ("run", "reduce")):
            raise WireError("The plan is not the one that was made.")
        if flow.plan is not None and isinstance(spec, QuestionSpec):
            raise WireError("A question is answered by its split and has no plan.")
        if field("run") != (spec.run.encode() if isinstance(spec, BlockSpec) else b""):
            raise WireError("The run is not the one of its spec.")
        if field("join") and not flow.join.startswith(join_prefix):
            raise WireError("A join is none.")
    except (WireError, UnicodeDecodeError) as error:
        if fields.get(b"state", b"").decode(errors="replace") in ENDED:
            return unreadable(flow_id, "failed", reading)
        run, join = (fields.get(name, b"").decode(errors="replace") for name in (b"run", b"join"))
        join = join if join.startswith(join_prefix) else ""
        raise DamagedFlowError(flow_id, reading, fields.get(reading.encode(), b""), run, join) from error
    return flow
