"""A run of another configuration than the live one's: how it differs, and what the last evaluation of both says."""

from typing import NamedTuple

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.flows.run_state import Run
from reckoner.shared.serving.evaluations import Configuration, Judgement, newest_judgement
from reckoner.shared.serving.history import History
from reckoner.shared.store.model_config import ModelConfig, in_words
from reckoner.shared.wire.shapes import Record
from reckoner.workers.runtime.runtime import Runtime


class Configured(NamedTuple):
    """The configuration of a generation's model, and its recency."""

    model: ModelConfig
    recency: float

    @property
    def known_as(self) -> Configuration:
        """As evaluations know it."""
        return self.model.facts(), self.recency

    def __str__(self) -> str:
        return f"{self.model.label} recency={in_words(self.recency)}"


class Change(NamedTuple):
    """The live generation's configuration, the one of a run, and what the last evaluation says of it, if any."""

    before: Configured
    now: Configured
    judgement: Judgement | None

    def __str__(self) -> str:
        return f"the configuration changed from {self.before} to {self.now}"

    @property
    def is_worse(self) -> bool:
        """Whether the last evaluation says that it is worse, beyond noise."""
        return self.judgement is not None and self.judgement.difference.verdict == "worse"

    @property
    def evaluation(self) -> str:
        """A sentence on what the last evaluation says."""
        if self.judgement is None:
            return f"No evaluation of this configuration: run `reckoner evaluate --model '{self.now}' --live`."
        told = str(self.judgement)
        return f"{told[0].upper()}{told[1:]}."


async def change_of_configuration(runtime: Runtime, run: Run, record: Record) -> Change | None:
    """The change that a run makes to the configuration; None if there is none, or a model is gone."""
    live = await runtime.results.generations.record(run.since)
    if live is None:
        return None
    try:
        before, now = await _configured(runtime, live), await _configured(runtime, record)
    except (ArtifactMissingError, ArtifactDamagedError):
        return None
    if before.known_as == now.known_as:
        return None
    entries = await History(runtime.redis, runtime.keys).evaluations()
    return Change(before, now, newest_judgement(entries, now.known_as, before.known_as))


async def _configured(runtime: Runtime, record: Record) -> Configured:
    return Configured((await runtime.model(record.model)).config, record.options.recency or 0.0)
