"""The configuration of a model, and the id that follows from it; without numpy."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta

from reckoner.shared.defaults import MAX_CANDIDATES, MAX_NEIGHBOURS
from reckoner.shared.errors import WireError
from reckoner.shared.store.manifests import short_hash
from reckoner.shared.wire.shapes import FitSpec

# Increment it when the kernels build another model from the same snapshot and configuration.
KERNEL_VERSION = 1

Similarity: TypeAlias = Literal["cosine", "jaccard", "dice", "asymmetric", "bm25", "tfidf", "llr", "rp3beta", "slim"]

# The parameters of each similarity besides `neighbours`, with their defaults.
PARAMETERS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "cosine": {"shrink": 0.0, "user_norm": 0.0, "power": 1.0},
        "jaccard": {"shrink": 0.0, "user_norm": 0.0, "power": 1.0},
        "dice": {"shrink": 0.0, "user_norm": 0.0, "power": 1.0},
        "asymmetric": {"shrink": 0.0, "user_norm": 0.0, "alpha": 0.5, "power": 1.0},
        "bm25": {"k1": 0.5, "b": 0.75, "power": 1.0},
        "tfidf": {"shrink": 0.0, "power": 1.0},
        "llr": {"power": 1.0},
        "rp3beta": {"alpha": 0.5, "beta": 0.6, "power": 1.0},
        "slim": {"user_norm": 0.5, "candidates": 200, "l1": 1.0, "l2": 20.0, "l2_share": 1.0},
    }
)
# What manifests hold whatever its value. The others were added later, and are held if they are not the default.
ALWAYS_HELD = frozenset({"alpha", "beta", "k1", "b"})


def in_words(value: float) -> str:
    """A parameter as people write it, with all digits that it has."""
    short = f"{value:g}"
    return short if isinstance(value, float) and float(short) == value else repr(value)


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration of a model; a parameter of None has its default in `PARAMETERS`.

    Raises:
        ValueError: a parameter is not one of the similarity's.
    """

    similarity: Annotated[Similarity, Meta(description="The formula.")] = "cosine"
    neighbours: Annotated[
        int,
        Meta(
            description="K, the number of neighbours of each item; of slim, of items that explain each item.",
            ge=1,
            le=MAX_NEIGHBOURS,
        ),
    ] = 100
    shrink: Annotated[float, Meta(description="Added to the formula's denominator, against chance.", ge=0, le=1e9)] = (
        0.0
    )
    power: Annotated[float, Meta(description="What similarities are raised to.", gt=0, le=100)] = 1.0
    user_norm: (
        Annotated[float, Meta(description="A user of n items counts n to the power of minus this.", ge=0, le=10)] | None
    ) = None
    alpha: (
        Annotated[float, Meta(description="The row's share in an asymmetric cosine; RP3beta's exponent.", ge=0, le=10)]
        | None
    ) = None
    beta: Annotated[float, Meta(description="How much RP3beta takes from popular items.", ge=0, le=10)] | None = None
    k1: Annotated[float, Meta(description="BM25's K1.", ge=0, le=1e6)] | None = None
    b: Annotated[float, Meta(description="BM25's B.", ge=0, le=1)] | None = None
    candidates: (
        Annotated[int, Meta(description="How many items slim tries to explain each item by.", ge=1, le=MAX_CANDIDATES)]
        | None
    ) = None
    l1: Annotated[float, Meta(description="What slim takes from each sum: small ones vanish.", ge=0, le=1e6)] | None = (
        None
    )
    l2: (
        Annotated[float, Meta(description="Slim's penalty on the square of each value, in users.", ge=0, le=1e9)] | None
    ) = None
    l2_share: (
        Annotated[float, Meta(description="The same as a share of the users of the value's item.", ge=0, le=1e6)] | None
    ) = None

    def __post_init__(self) -> None:
        takes = {"similarity", "neighbours", *PARAMETERS[self.similarity]}
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if name not in takes and getattr(self, name) != default:
                taken = ", ".join(PARAMETERS[self.similarity])
                raise ValueError(f"{self.similarity} takes no {name}; its parameters: {taken}")

    def parameter(self, name: str) -> float:
        """A parameter's value or default."""
        given = getattr(self, name)
        return float(PARAMETERS[self.similarity][name] if given is None else given)

    @property
    def label(self) -> str:
        """The configuration for people, without what is a default: `cosine user_norm=1`."""
        defaults = {"neighbours": 100, **PARAMETERS[self.similarity]}
        given = {name: getattr(self, name) for name in defaults}
        shown = (
            f"{name}={in_words(value)}"
            for name, value in given.items()
            if value is not None and value != defaults[name]
        )
        return " ".join([self.similarity, *shown])

    def facts(self) -> dict[str, Any]:
        """The configuration for manifests; fields later than the first release only if not default."""
        facts: dict[str, Any] = {
            "similarity": self.similarity,
            "neighbours": self.neighbours,
            "shrink": float(self.shrink),
        }
        is_slim = self.similarity == "slim"
        for name, default in PARAMETERS[self.similarity].items():
            value = self.parameter(name)
            if name not in facts and (is_slim or name in ALWAYS_HELD or value != default):
                facts[name] = int(value) if name == "candidates" else value
        return facts


def config_of(spec: FitSpec) -> ModelConfig:
    """The configuration of a fit.

    Raises:
        WireError: it is invalid.
    """
    wanted = {"similarity": spec.similarity, "neighbours": spec.neighbours, "shrink": spec.shrink}
    parameters: dict[str, Any] = dict(spec.parameters)
    if (candidates := spec.parameters.get("candidates")) is not None and candidates.is_integer():
        parameters["candidates"] = int(candidates)
    try:
        return msgspec.convert(parameters | wanted, ModelConfig)
    except msgspec.ValidationError as error:
        raise WireError(f"A fit has an unsupported configuration: {error}.") from error


def fit_spec(
    snapshot_id: str,
    config: ModelConfig,
    list_length: int,
    *,
    recency: float = 0.0,
    spare: int = 0,
    only_model: bool = False,
) -> FitSpec:
    """The spec of a fit, or of one that makes `only_model`, and no generation."""
    beside = {name: float(fact) for name, fact in config.facts().items() if name not in FitSpec.__struct_fields__}
    return FitSpec(
        *(snapshot_id, config.similarity, config.neighbours, float(config.shrink), list_length, beside, only_model),
        recency=float(recency) or UNSET,
        spare=spare,
    )


def model_id(snapshot_id: str, config: ModelConfig, kernel_version: int = KERNEL_VERSION) -> str:
    """The id of the model that kernels of a version build from a snapshot and a configuration."""
    return short_hash(msgspec.json.encode([snapshot_id, config.facts(), kernel_version], order="sorted"))
