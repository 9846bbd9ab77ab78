"""The flows that this worker has just planned or read, so that their next tasks need not read them again."""

import time
from collections import OrderedDict
from dataclasses import replace

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.wire.jobs import Chunk, FlowTask, Split

# A task follows the one before it within milliseconds; what waits for longer is read anew.
FRESH_S = 1.0
MOST = 100


class OpenFlows:
    """What was known of a flow in the round that its task is for.

    It may have moved on since. Then the script that ends the task changes nothing, as it does where a flow moves on
    while a task runs; and where it has ended, whoever holds one of its jobs under a lease is told.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Flow, float]] = OrderedDict()

    def note(self, flow: Flow) -> None:
        """Keep for a moment what was read of a flow whose chunk tasks are under way."""
        self._known[flow.id] = flow, time.monotonic()
        self._known.move_to_end(flow.id)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def get(self, task: FlowTask) -> Flow | None:
        """The flow as it was when this task was created; None when it is not known, or for too long."""
        flow, since = self._known.get(task.flow, (None, 0.0))
        if flow is None or isinstance(task, Split) or flow.round != task.round or time.monotonic() - since > FRESH_S:
            return None
        # The script that has created a round's reduce has moved the flow to it.
        return flow if isinstance(task, Chunk) else replace(flow, state="reduce")
