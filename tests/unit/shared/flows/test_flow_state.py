"""The state of a flow as Redis has it."""

import pytest

from reckoner.shared.flows.flow_state import Flow, decode_flow
from reckoner.shared.wire.shapes import SPEC, UserSpec

FIELDS = {
    **dict.fromkeys((b"round", b"looks", b"place", b"rework", b"planned", b"created"), b"0"),
    **dict.fromkeys((b"join", b"run", b"block"), b""),
    b"state": b"split",
    b"lane": b"click",
    b"spec": SPEC.encode(UserSpec("601", "7384d216e1d4efda")),
}


def decoded(**more: bytes) -> Flow:
    return decode_flow("an-id", FIELDS | {name.encode(): value for name, value in more.items()}, "p:join:")


@pytest.mark.parametrize("planted", [b"", b"nonsense", b"\xff\xfe", b"00-" + 3_000 * b"0"])
def test_an_invalid_trace_context_harms_no_job(planted: bytes) -> None:
    """The job is done without a trace."""
    assert decoded(traceparent=planted) == decoded()
    assert decoded().traceparent == ""
