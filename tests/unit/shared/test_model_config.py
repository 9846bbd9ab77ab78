"""A model is known by what it is built from."""

from shared.model_config import ModelConfig, model_id


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
