"""The state of a flow in Redis, and its validation."""

from dataclasses import dataclass
from typing import Literal

from reckoner.shared.errors import WireError
from reckoner.shared.tracing import checked
from reckoner.shared.wire.shapes import PLAN, SPEC, BlockSpec, Lane, Plan, QuestionSpec, Spec, UserSpec

State = Literal["split", "run", "reduce", "done", "failed", "cancelled"]
UNFINISHED: tuple[State, ...] = ("split", "run", "reduce")
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
UNREADABLE = UserSpec("", "unreadable")


@dataclass(frozen=True)
class Flow:
    """A flow as it was read; the script of each change checks the state again."""

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
    traceparent: str = ""
    """The W3C trace context of who asked first, if there is one."""

    @property
    def tasks(self) -> int:
        """The number of the flow's chunk tasks."""
        return len(self.plan.bounds) - 1 if self.plan else 0

    @property
    def kind(self) -> str:
        """What it is a job for: `user`, `basket`, `block`, `fit` and so on."""
        return str(self.spec.__struct_config__.tag)

    @property
    def ended(self) -> bool:
        """Whether the flow is done, failed or cancelled."""
        return self.state in ENDED


def parse_count(value: bytes) -> int:
    """Parse a non-negative integer of a hash in Redis.

    Raises:
        WireError: the bytes are invalid.
    """
    # Lua's float64 holds any integer of 15 digits.
    if not value.isdigit() or len(value) > 15:
        raise WireError("A number of a flow is invalid.", data=value)
    return int(value)


class DamagedFlowError(WireError):
    """A flow's state in Redis is invalid; `run` and `join` are its fields, if readable."""

    def __init__(self, flow_id: str, field: str, data: bytes, run: str, join: str) -> None:
        super().__init__(f"The field {field} of flow {flow_id} is invalid.", data=data)
        self.flow_id, self.field, self.data, self.run, self.join = flow_id, field, data, run, join


def _lane(lane: str) -> Lane:
    match lane:
        case "click" | "batch":
            return lane
    raise WireError("A lane is unknown.")


def unreadable(flow_id: str, state: State, field: str, run: str = "", join: str = "") -> Flow:
    """A placeholder for a flow whose `field` is invalid."""
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
        reason=f"the field {field} of its state is invalid",
        answer=b"",
    )


def decode_flow(flow_id: str, fields: dict[bytes, bytes], join_prefix: str) -> Flow:
    """Decode a flow's hash; its join key, if any, must start with `join_prefix`.

    An ended flow with an invalid field counts as failed, so that its waiting callers get an answer.

    Raises:
        DamagedFlowError: a field of an unfinished flow is invalid.
    """
    reading = ""

    def field(name: str) -> bytes:
        nonlocal reading
        reading = name
        return fields.get(name.encode(), b"")

    try:
        state = field("state").decode()
        if state not in UNFINISHED + ENDED:
            raise WireError("A state is unknown.")
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
            traceparent=checked(fields.get(b"traceparent", b"").decode(errors="replace")),
        )
        # Scripts compute with these, and cannot roll back.
        for name in ("place", "rework"):
            parse_count(field(name))
        if parse_count(field("planned")) != flow.tasks or (flow.plan is None and state in ("run", "reduce")):
            raise WireError("A plan does not match its count of tasks.")
        if flow.plan is not None and isinstance(spec, QuestionSpec):
            raise WireError("A question has a plan.")
        if field("run") != (spec.run.encode() if isinstance(spec, BlockSpec) else b""):
            raise WireError("A run does not match its spec.")
        if field("join") and not flow.join.startswith(join_prefix):
            raise WireError("A join key is invalid.")
    except (WireError, UnicodeDecodeError) as error:
        if fields.get(b"state", b"").decode(errors="replace") in ENDED:
            return unreadable(flow_id, "failed", reading)
        run, join = (fields.get(name, b"").decode(errors="replace") for name in (b"run", b"join"))
        join = join if join.startswith(join_prefix) else ""
        raise DamagedFlowError(flow_id, reading, fields.get(reading.encode(), b""), run, join) from error
    return flow
