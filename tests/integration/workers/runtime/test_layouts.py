"""Layouts: made once while they are in use, and no more of them kept than that."""

from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.workers.kernels.scoring.candidates import Candidates
from reckoner.workers.runtime.layouts import COPIES_PER_MODEL, MODELS, Layouts
from tests.building import flag
from tests.world import World


def opened(world: World, number: int) -> Model:
    return open_model(world.store.fetch("models", world.generations[number].record.model))


def laid_out(layouts: Layouts, model: Model, first: int, last: int) -> Candidates:
    found = layouts.candidates(model, first, last, flag())
    assert found is not None
    return found


def test_a_range_is_laid_out_once(world: World) -> None:
    """For all who ask for it; of a model that was opened anew, since its files were damaged, it is another one."""
    layouts, model = Layouts(), opened(world, 0)
    assert layouts.cached(model, 0, 20) is None
    found = laid_out(layouts, model, 0, 20)
    assert laid_out(layouts, model, 0, 20) is found
    assert layouts.cached(model, 0, 20) is found
    assert layouts.cached(model, 0, 21) is None
    assert layouts.cached(opened(world, 0), 0, 20) is None


def test_a_snapshot_is_laid_out_once_for_a_fit(world: World) -> None:
    """For all its tasks; of a snapshot that was opened anew, since its files were damaged, it is another layout."""
    layouts, config = Layouts(), world.generations[0].config
    found = layouts.counting(world.snapshot, config, flag())
    assert found is not None
    assert layouts.counting(world.snapshot, config, flag()) is found
    assert layouts.counting(world.snapshot, world.generations[1].config, flag()) is not found
    found = layouts.counting(world.snapshot, config, flag())
    again = open_snapshot(world.store.fetch("snapshots", world.snapshot.id))
    assert layouts.counting(again, config, flag()) is not found


def test_what_was_stopped_is_not_kept(world: World) -> None:
    """The next one who asks has it whole."""
    layouts, model = Layouts(), opened(world, 0)
    assert layouts.candidates(model, 0, 40, flag(1)) is None
    assert layouts.cached(model, 0, 40) is None
    assert laid_out(layouts, model, 0, 40).order.size == 40


def test_no_more_is_kept_of_a_model_than_a_few_wholes(world: World) -> None:
    """What was asked for last stays, however its items are cut into ranges."""
    layouts, model = Layouts(), opened(world, 0)
    asked = [(first, last) for last in range(1, 41) for first in range(last)]
    for first, last in asked:
        laid_out(layouts, model, first, last)
    kept = [found for first, last in asked if (found := layouts.cached(model, first, last)) is not None]
    assert kept[-1].order.size == 1
    assert sum(found.columns.size for found in kept) <= COPIES_PER_MODEL * model.row_values.size


def test_the_layouts_of_few_models_are_kept(world: World) -> None:
    """Of those that were asked for last."""
    layouts, models = Layouts(), [opened(world, number) for number in range(MODELS + 1)]
    for model in models[:-1]:
        laid_out(layouts, model, 0, 40)
    assert layouts.cached(models[0], 0, 40) is not None
    laid_out(layouts, models[-1], 0, 40)
    assert [layouts.cached(model, 0, 40) is not None for model in models] == [True, False, True]
