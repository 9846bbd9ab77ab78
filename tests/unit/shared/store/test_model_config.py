"""A model is known by what it is built from."""

import msgspec
import pytest

from reckoner.shared.errors import WireError
from reckoner.shared.store.model_config import PARAMETERS, ModelConfig, config_of, fit_spec, model_id
from reckoner.shared.wire.shapes import FitSpec
from tests.building import CONFIGS


def test_the_id_depends_on_snapshot_and_configuration() -> None:
    """Two snapshots, two numbers of neighbours or two shrinks are different models."""
    ids = {
        model_id(snapshot, ModelConfig(neighbours=neighbours, shrink=shrink))
        for snapshot in ("a", "b")
        for neighbours in (100, 101)
        for shrink in (0.0, 1.0)
    }
    assert len(ids) == 8
    assert model_id("a", ModelConfig(shrink=0)) == model_id("a", ModelConfig())


def test_each_configuration_has_an_id_of_its_own() -> None:
    """A default that is given is no other model than one that is not."""
    assert len({model_id("a", config) for config in CONFIGS}) == len(CONFIGS)
    for similarity, parameters in PARAMETERS.items():
        given = msgspec.convert({"similarity": similarity, **parameters}, ModelConfig)
        assert model_id("a", given) == model_id("a", msgspec.convert({"similarity": similarity}, ModelConfig))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_fit_keeps_its_configuration(config: ModelConfig) -> None:
    """The workers' model has the id that the producer has printed."""
    spec = fit_spec("a", config, 20)
    assert model_id("a", config_of(spec)) == model_id("a", config)
    assert fit_spec("a", config_of(spec), 20) == spec


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize(
    ("similarity", "name"),
    [("cosine", "alpha"), ("cosine", "b"), ("bm25", "beta"), ("llr", "k1"), ("tfidf", "alpha"), ("rp3beta", "b")],
)
def test_a_parameter_that_a_similarity_does_not_take_is_refused(similarity: str, name: str, value: float) -> None:
    """Whoever gives it, 0 or not, would wait for what it changes; workers refuse it too."""
    with pytest.raises(msgspec.ValidationError, match=f"{similarity} takes no {name}; its parameters"):
        msgspec.convert({"similarity": similarity, name: value}, ModelConfig)
    with pytest.raises(WireError, match=f"{similarity} takes no {name}"):
        config_of(FitSpec("a", similarity, 100, 0.0, 20, {name: value}))


def test_an_unsupported_fit_is_refused() -> None:
    """A later release may send one."""
    with pytest.raises(WireError, match="unsupported configuration"):
        config_of(FitSpec("a", "pearson", 100, 0.0, 20))
    with pytest.raises(WireError, match="unsupported configuration"):
        config_of(FitSpec("a", "cosine", 100, 0.0, 20, {"gamma": 1.0}))


def test_too_many_candidates_are_refused() -> None:
    """A thread of a worker would take gigabytes."""
    assert config_of(FitSpec("a", "slim", 100, 0.0, 20, {"candidates": 4000.0})).candidates == 4000
    with pytest.raises(WireError, match="unsupported configuration"):
        config_of(FitSpec("a", "slim", 100, 0.0, 20, {"candidates": 4001.0}))
