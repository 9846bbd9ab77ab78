"""How a model is built, and the id that it will have: known before it is there, and without numpy."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.errors import WireError
from shared.manifests import short_hash
from shared.wire import FitSpec

# Raised whenever the kernels would build another model from the same snapshot and configuration.
KERNEL_VERSION = 1


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How similar items are found."""

    similarity: Annotated[Literal["cosine"], Meta(description="The formula.")] = "cosine"
    neighbours: Annotated[
        int, Meta(description="K, how many similar items are kept for each item.", ge=1, le=1_000_000_000)
    ] = 100
    shrink: Annotated[float, Meta(description="Added to the formula's denominator, against chance.", ge=0, le=1e9)] = (
        0.0
    )


def config_of(spec: FitSpec) -> ModelConfig:
    """The configuration that a fit asks for.

    Raises:
        WireError: there is no such configuration.
    """
    wanted = {"similarity": spec.similarity, "neighbours": spec.neighbours, "shrink": spec.shrink}
    try:
        return msgspec.convert(wanted, ModelConfig)
    except msgspec.ValidationError as error:
        raise WireError(f"A fit asks for what these workers cannot build: {error}.") from error


def model_id(snapshot_id: str, config: ModelConfig) -> str:
    """The id of the model that these kernels build from that snapshot with this configuration."""
    # Converted as if read: a shrink of 0 that was given as an integer is the same configuration.
    config = msgspec.convert(msgspec.to_builtins(config), ModelConfig)
    return short_hash(msgspec.json.encode([snapshot_id, config, KERNEL_VERSION], order="sorted"))
