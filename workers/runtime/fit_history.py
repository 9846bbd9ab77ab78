"""Adds ended fits to the history."""

from reckoner.shared.errors import WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.serving.history import Entry
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.shapes import FitSpec, Options
from reckoner.workers.runtime.runtime import Runtime


async def remember_fit(runtime: Runtime, flow: Flow, failure: str = "") -> None:
    """Remember how a fit ended, unless it only rebuilt a damaged model. Other flows are left out."""
    spec = flow.spec
    if not isinstance(spec, FitSpec) or spec.heals:
        return
    try:
        model = model_id(spec.snapshot, config_of(spec))
    except WireError:
        # It failed for its configuration.
        model = ""
    await runtime.remember(
        Entry(
            id=flow.id,
            kind="fit",
            outcome="failed" if failure else "done",
            started_ms=flow.created_ms,
            ended_ms=await runtime.now_ms(),
            snapshot=spec.snapshot,
            model=model,
            generation=generation_id(model, Options(spec.list_length)) if model else "",
            reasons=[failure] if failure else [],
        )
    )
