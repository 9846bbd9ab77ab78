"""Caches flows that this worker has just planned or read, so that their next tasks save a round trip."""

import time
from collections import OrderedDict
from dataclasses import replace

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.wire.jobs import Chunk, FlowTask, Split

# The next task usually follows within milliseconds.
FRESH_S = 1.0
MOST = 100


class OpenFlows:
    """Recently read flows. One may be stale: then the script that ends its task changes nothing."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Flow, float]] = OrderedDict()

    def note(self, flow: Flow) -> None:
        """Cache a flow in state `run`."""
        self._known[flow.id] = flow, time.monotonic()
        self._known.move_to_end(flow.id)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def get(self, task: FlowTask) -> Flow | None:
        """The flow as it was when this task was created; None if it is not cached or too old."""
        flow, since = self._known.get(task.flow, (None, 0.0))
        if flow is None or isinstance(task, Split) or flow.round != task.round or time.monotonic() - since > FRESH_S:
            return None
        # The script that enqueued the reduce has moved the flow to state `reduce`.
        return flow if isinstance(task, Chunk) else replace(flow, state="reduce")
