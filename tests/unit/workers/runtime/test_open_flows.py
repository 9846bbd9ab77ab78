"""The cache of open flows serves the tasks of one round, for a moment."""

from dataclasses import replace

import pytest

import reckoner.workers.runtime.open_flows
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.wire.jobs import Chunk, Reduce, Split
from reckoner.shared.wire.shapes import Plan, UserSpec
from reckoner.workers.runtime.open_flows import MOST, OpenFlows

FLOW = Flow(
    id="one",
    state="run",
    round=3,
    spec=UserSpec("Ada", "g"),
    plan=Plan([0, 20, 40]),
    looks=0,
    join="",
    run="",
    block=None,
    lane="click",
    created_ms=1,
    ended_ms=None,
    reason="",
    answer=b"",
)


def test_a_chunk_task_and_the_reduce_of_the_round_need_not_read_the_flow() -> None:
    """A reduce task implies the state `reduce`."""
    flows = OpenFlows()
    flows.note(FLOW)
    assert flows.get(Chunk("one", 1, 3)) == FLOW
    assert flows.get(Reduce("one", 3)) == replace(FLOW, state="reduce")


def test_another_round_or_flow_is_loaded() -> None:
    """A split has no round, so its flow is always read."""
    flows = OpenFlows()
    flows.note(FLOW)
    for task in (Chunk("one", 1, 2), Chunk("one", 1, 4), Reduce("one", 4), Chunk("two", 1, 3), Split("one")):
        assert flows.get(task) is None


def test_what_was_known_for_a_while_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries expire by this process's clock."""
    flows = OpenFlows()
    flows.note(FLOW)
    monkeypatch.setattr(reckoner.workers.runtime.open_flows, "FRESH_S", -1.0)
    assert flows.get(Chunk("one", 1, 3)) is None


def test_few_flows_are_known_at_a_time() -> None:
    """The most recent flows stay."""
    flows = OpenFlows()
    for number in range(MOST + 1):
        flows.note(replace(FLOW, id=f"flow-{number}"))
    assert flows.get(Chunk("flow-0", 0, 3)) is None
    assert flows.get(Chunk(f"flow-{MOST}", 0, 3)) is not None
