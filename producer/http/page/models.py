"""Models: which is live, what is it made of, and how good was it found?"""

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from reckoner.producer.http.page.checks import in_daemon
from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.http.routes import Nothing
from reckoner.shared.serving.evaluations import MAIN_METRIC, evaluations_in
from reckoner.shared.store.location import store_of
from reckoner.shared.store.model_config import ModelConfig

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call
    from reckoner.shared.settings import Settings

SHOWN_EVALUATIONS = 5


async def gather(call: "Call", _: Nothing, __: Seen) -> dict[str, Any]:
    """The generations with their parameters, and the last evaluations."""
    operator, settings = call.reckoner.operator, call.server.config.settings
    now = await operator.status(timeout=call.left_s)
    entries = await operator.entries(SHOWN_EVALUATIONS, "evaluation", timeout=call.left_s)
    times = {entry.id: entry.ended_ms for entry in entries}
    models = sorted({record.model for record in now.records.values() if record})
    return {
        "status": now,
        "configurations": {model: await in_daemon(partial(_configuration, settings, model)) for model in models},
        "evaluations": [(times[name], evaluation) for name, evaluation in evaluations_in(entries)],
        "metric": MAIN_METRIC,
        "scale": scale,
    }


def _configuration(settings: "Settings", model: str) -> dict[str, Any]:
    """The parameters of a model in the store."""
    manifest = store_of(settings, create=False).manifest("models", model)
    return msgspec.convert(manifest.facts["config"], ModelConfig).facts()


def scale(evaluation: Any) -> tuple[float, float]:
    """The scale on which the intervals of an evaluation are drawn side by side."""
    metrics = [model.metrics[MAIN_METRIC] for model in evaluation.models if MAIN_METRIC in model.metrics]
    if not metrics:
        return 0.0, 1.0
    return min(metric.low for metric in metrics), max(metric.high for metric in metrics)


ROUTES = (screen("/models", "Models", "models.html", gather, every_s=None),)
