"""Layouts: made once while they are in use, and no more of them kept than that."""

from pathlib import Path

from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.store.verification import VerificationCache
from reckoner.workers.runtime.layout_files import Layout, LayoutFiles
from reckoner.workers.runtime.layouts import COPIES_PER_MODEL, MODELS, Layouts
from tests.building import flag
from tests.world import World


def opened(world: World, number: int) -> Model:
    return open_model(world.store.fetch("models", world.generations[number].record.model))


def empty(place: Path) -> Layouts:
    return Layouts(LayoutFiles(place, VerificationCache(place)))


def laid_out(layouts: Layouts, model: Model, first: int, last: int) -> Layout:
    made = layouts.make(model, first, last, flag())
    assert made is not None
    layouts.keep(model, first, last, Layout(made))
    return Layout(made)


def test_a_range_is_found_once_it_was_laid_out(world: World, tmp_path: Path) -> None:
    """Of a model that was opened anew, since its files were damaged, it is another one."""
    layouts, model = empty(tmp_path), opened(world, 0)
    assert layouts.cached(model, 0, 20) is None
    found = laid_out(layouts, model, 0, 20)
    assert layouts.cached(model, 0, 20) == found
    assert layouts.cached(model, 0, 21) is None
    assert layouts.cached(opened(world, 0), 0, 20) is None
    layouts.drop(model.id)
    assert layouts.cached(model, 0, 20) is None


def test_a_snapshot_is_laid_out_once_for_a_fit(world: World, tmp_path: Path) -> None:
    """For all its tasks; of a snapshot that was opened anew, since its files were damaged, it is another layout."""
    layouts, config = empty(tmp_path), world.generations[0].config
    found = layouts.counting(world.snapshot, config, 40, flag())
    assert found is not None
    assert layouts.counting(world.snapshot, config, 40, flag()) is found
    assert layouts.counting(world.snapshot, world.generations[1].config, 40, flag()) is not found
    found = layouts.counting(world.snapshot, config, 40, flag())
    again = open_snapshot(world.store.fetch("snapshots", world.snapshot.id))
    assert layouts.counting(again, config, 40, flag()) is not found


def test_no_more_is_kept_of_a_model_than_a_few_wholes(world: World, tmp_path: Path) -> None:
    """What was asked for last stays, however its items are cut into ranges."""
    layouts, model = empty(tmp_path), opened(world, 0)
    asked = [(first, last) for last in range(1, 41) for first in range(last)]
    for first, last in asked:
        laid_out(layouts, model, first, last)
    kept = [found for first, last in asked if (found := layouts.cached(model, first, last)) is not None]
    assert kept[-1].candidates.order.size == 1
    assert sum(found.candidates.columns.size for found in kept) <= COPIES_PER_MODEL * model.row_values.size


def test_the_layouts_of_few_models_are_kept(world: World, tmp_path: Path) -> None:
    """Of those that were asked for last."""
    layouts, models = empty(tmp_path), [opened(world, number) for number in range(MODELS + 1)]
    for model in models[:-1]:
        laid_out(layouts, model, 0, 40)
    assert layouts.cached(models[0], 0, 40) is not None
    laid_out(layouts, models[-1], 0, 40)
    assert [layouts.cached(model, 0, 40) is not None for model in models] == [True, False, True]
