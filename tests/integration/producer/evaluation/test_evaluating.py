"""An evaluation: what is impossible is said before the workers begin."""

import numpy as np
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.evaluating import evaluate
from reckoner.producer.evaluation.splits import DAY_MS, Protocol
from reckoner.shared.errors import UsageError
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import write_snapshot
from tests.world import World


async def test_a_fold_without_a_training_part_is_said_before_a_fit(own_world: World, reckoner: OpenReckoner) -> None:
    """Ten days of data are not enough for three test parts of four days. There is no worker."""
    users, items = (found.ravel() for found in np.indices((10, 10)))
    with own_world.store.scratch() as scratch:
        names = [str(number) for number in range(10)]
        made = write_snapshot(
            scratch, user_ids=names, item_ids=names, users=users, items=items, times=(users + items) % 10 * DAY_MS
        )
        own_world.store.publish("snapshots", made, scratch)
    said = list[str]()

    def show(what: str, unit: str, done: int, total: int | None) -> None:
        said.append(what)
        assert not what.startswith("Fitting")

    protocol = Protocol(days=4, folds=3)
    with pytest.raises(UsageError, match="The training part would be empty"):
        await evaluate(reckoner, own_world.store, made, protocol, {Candidate(ModelConfig()): False}, show)
    assert said == ["Splitting the interactions"]
