"""The state of a run in Redis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from reckoner.shared.errors import WireError
from reckoner.shared.flows.flow_state import parse_count
from reckoner.shared.wire.shapes import SPEC

RunState = Literal["run", "finish", "ended"]
# `held`: it passed the gate of a dry run.
RunOutcome = Literal["passed", "held", "refused", "superseded", "failed"]


class Figures(msgspec.Struct, frozen=True):
    """A sample of a run's lists next to the lists that were live; None where there is nothing to compare.

    Shares are between 0 and 1.
    """

    users_lost: float | None = None
    """The share of the live generation's users that the new snapshot lacks."""
    popular: float | None = None
    """The share of users with a list who would get the popular list."""
    churn: float | None = None
    """The share of places with a new item, of users who had a list."""
    empty: float | None = None
    """The share of empty lists."""
    empty_before: float | None = None
    coverage: int | None = None
    """The number of different items in the sampled lists."""
    coverage_before: int | None = None
    concentration: float | None = None
    """The share of places that have one of the ten most frequent items."""
    concentration_before: float | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The summary of a run: users, seconds, and what the gate saw."""

    users: int
    done: int
    failed: int
    empty: int
    duration_s: float
    users_per_second: float
    reasons: list[str]
    tasks: dict[str, int] = {}
    """The number of chunk tasks by worker."""
    figures: Figures | None = None
    """None if there were no lists before, or not every user is done."""
    evaluation: str | UnsetType = UNSET
    """What the last evaluation says of a configuration that is not the live one's, unless it is a reason."""


class DamagedRunError(WireError):
    """A run's state in Redis is invalid; `generation` is its field, if readable."""

    def __init__(self, run_id: str, generation: str) -> None:
        super().__init__(f"The state of run {run_id} is invalid.")
        self.run_id, self.generation = run_id, generation


@dataclass(frozen=True)
class Run:
    """A run as it was read."""

    id: str
    state: RunState
    generation: str
    since: str
    """The current generation at the start of the run, empty if there was none."""
    round: int
    blocks: int
    block_size: int
    users: int
    next_block: int
    started_ms: int
    ended_ms: int | None
    outcome: str
    manifest: Manifest | None
    dry: bool = False
    """Whether it makes nothing live."""


def decode_run(run_id: str, fields: Mapping[str, bytes]) -> Run:
    """Decode a run's hash; invalid fields raise various errors."""
    state = msgspec.convert(fields["state"].decode(), RunState)
    if state != "ended":
        SPEC.decode(fields["spec"])
    manifest = fields.get("manifest")
    return Run(
        id=run_id,
        state=state,
        generation=fields["generation"].decode(),
        since=fields["since"].decode(),
        round=parse_count(fields["round"]),
        blocks=parse_count(fields["blocks"]),
        block_size=parse_count(fields["block_size"]),
        users=parse_count(fields["users"]),
        next_block=parse_count(fields["next"]),
        started_ms=parse_count(fields["started"]),
        ended_ms=parse_count(fields["ended"]) if "ended" in fields else None,
        outcome=fields.get("outcome", b"").decode(),
        manifest=msgspec.json.decode(manifest, type=Manifest) if manifest else None,
        dry=fields.get("dry") == b"1",
    )
