"""Search spaces: which models a tuning tries, from a file or built in, and the drawing of trials."""

import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from reckoner.producer.evaluation.candidates import Candidate
from reckoner.shared.errors import UsageError
from reckoner.shared.store.fit_options import parse_recency
from reckoner.shared.store.model_config import ModelConfig

WHOLE = frozenset({"neighbours", "candidates"})
MAX_FILE_BYTES = 1 << 20


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """All values from `start` to `end`; with `log` their logarithms are spread evenly."""

    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise ValueError("from must be below to")
        if self.log and self.start <= 0:
            raise ValueError("with log, from must be above 0")


Values: TypeAlias = float | list[float] | Range
# The parameters of each similarity, and `recency`, which is each one's.
Space: TypeAlias = Mapping[str, Mapping[str, Values]]

_RECENCY: Final = [0, 0.25, 0.5, 1]
_USER_NORM: Final = {"from": 0, "to": 1}
_COUNTED: Final = {
    "neighbours": [50, 100, 200],
    "user_norm": _USER_NORM,
    "shrink": [0, 5, 20, 80],
    "power": [0.5, 1, 2],
    "recency": _RECENCY,
}
_BUILT_IN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "slim": {
            "l2": {"from": 2, "to": 200, "log": True},
            "l2_share": {"from": 0.1, "to": 3, "log": True},
            "l1": [0.5, 1, 2, 4],
            "user_norm": _USER_NORM,
            "candidates": [100, 200, 400],
            "neighbours": [50, 100, 200],
            "recency": _RECENCY,
        },
        "cosine": _COUNTED,
        "jaccard": _COUNTED,
        "rp3beta": {
            "neighbours": [50, 100, 200],
            "alpha": {"from": 0.2, "to": 1.2},
            "beta": {"from": 0.1, "to": 1},
            "power": [0.5, 1, 2],
            "recency": _RECENCY,
        },
        "bm25": {
            "neighbours": [50, 100, 200],
            "k1": {"from": 0.1, "to": 3, "log": True},
            "b": {"from": 0, "to": 1},
            "power": [0.5, 1, 2],
            "recency": _RECENCY,
        },
    }
)
_NEIGHBOURS: Final = ("cosine", "jaccard", "rp3beta", "bm25")
# `all` gives half of the trials to slim, which has the most parameters.
FAMILIES: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "slim": ("slim",),
        "neighbours": _NEIGHBOURS,
        "all": tuple(name for neighbour in _NEIGHBOURS for name in ("slim", neighbour)),
    }
)


def built_in(family: str, *, with_times: bool) -> tuple[Space, Sequence[str]]:
    """The space of a family in `FAMILIES`, and whose turn it is; data without times get no recency."""
    turns = FAMILIES[family]
    space = {name: dict(_BUILT_IN[name]) for name in turns}
    if not with_times:
        for parameters in space.values():
            del parameters["recency"]
    return _checked(space, f"--family {family}"), turns


def read_space(path: Path) -> Space:
    """Read a space from a TOML file: a table for each similarity, and in it a value, a list or a range by parameter.

    Raises:
        UsageError: the file cannot be read, or is invalid.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(f"The space {path} is too large: it has over {MAX_FILE_BYTES:,} bytes.")
        space = tomllib.loads(data.decode())
    except OSError as error:
        raise UsageError(f"The space {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The space {path} is not valid TOML: {error}.") from error
    if not space:
        raise UsageError(f"The space {path} is empty. An example: [slim] and, on a line below it, l2 = [5, 20, 80].")
    return _checked(space, str(path))


def _checked(space: Mapping[str, Any], origin: str) -> Space:
    found = dict[str, dict[str, Values]]()
    for similarity, parameters in space.items():
        try:
            found[similarity] = msgspec.convert(parameters, dict[str, Values])
            for name, values in found[similarity].items():
                _require_valid(similarity, name, values)
            candidate_of(similarity, {})
        except ValueError as error:
            raise UsageError(f"{origin}: [{similarity}] is invalid: {str(error).rstrip('.')}.") from error
    return found


def _require_valid(similarity: str, name: str, values: Values) -> None:
    """Check the values of a parameter, or the ends of a range.

    Raises:
        ValueError: one is invalid.
    """
    if values == [] or name == "similarity":
        raise ValueError(f"{name} has no values")
    for value in [values.start, values.end] if isinstance(values, Range) else _listed(values):
        candidate_of(similarity, {name: value})


def candidate_of(similarity: str, parameters: Mapping[str, float]) -> Candidate:
    """A candidate of a similarity and its parameters, with `recency`.

    Raises:
        ValueError: one is invalid.
    """
    given = {name: round(value) if name in WHOLE else value for name, value in parameters.items()}
    recency = given.pop("recency", None)
    config = msgspec.convert({"similarity": similarity, **given}, ModelConfig)
    return Candidate(config, None if recency is None else parse_recency(str(recency)))


def draw(space: Space, trials: int, seed: int, turns: Sequence[str] | None = None) -> list[Candidate]:
    """Draw at most so many different candidates; equal seeds draw equal ones.

    Similarities take turns. Of a similarity, all combinations are taken if the trials suffice, else a Latin hypercube
    (McKay, Beckman and Conover, Technometrics 21(2), 1979): each parameter's values are cut into as many parts as
    there are trials, and each part is taken once.
    """
    names, bits = list(turns or space), np.random.PCG64(seed)
    wanted = Counter(names[number % len(names)] for number in range(trials))
    drawn = [
        candidate_of(similarity, parameters)
        for similarity, count in wanted.items()
        for parameters in _combinations(space[similarity], count, bits)
    ]
    return list(dict.fromkeys(drawn))


def _combinations(parameters: Mapping[str, Values], count: int, bits: np.random.PCG64) -> Sequence[Mapping[str, float]]:
    lists = [_listed(values) for values in parameters.values() if not isinstance(values, Range)]
    if len(lists) == len(parameters) and math.prod(map(len, lists)) <= count:
        return [dict(zip(parameters, values, strict=True)) for values in product(*lists)]
    # By the raw numbers, which no release of numpy changes.
    places = {name: np.argsort(bits.random_raw(count), kind="stable").tolist() for name in parameters}
    return [
        {name: _at(values, (places[name][number] + 0.5) / count) for name, values in parameters.items()}
        for number in range(count)
    ]


def _at(values: Values, place: float) -> float:
    """The value at a place from 0 to 1, of a range to three digits, which a person can copy."""
    if not isinstance(values, Range):
        listed = _listed(values)
        return listed[int(place * len(listed))]
    start, end = values.start, values.end
    value = start * (end / start) ** place if values.log else start + (end - start) * place
    return min(max(float(f"{value:.3g}"), start), end)


def _listed(values: float | list[float]) -> list[float]:
    """The values to as many digits as a candidate's name has."""
    return [float(f"{value:g}") for value in (values if isinstance(values, list) else [values])]
