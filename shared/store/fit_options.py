"""What a fit is asked for: the configuration of its model, and the recency of its generation; without numpy."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from reckoner.shared.defaults import MAX_RECENCY, RECENCY
from reckoner.shared.errors import SettingsError, UsageError
from reckoner.shared.store.manifests import read_manifest
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.protocol import Store

# The best on all data that were tried; and the next best, for catalogues where that takes too long, and for a handful
# of interactions, in which slim sees only chance.
SLIM, COSINE = ModelConfig("slim"), ModelConfig("cosine", user_norm=1.0)
AFFORDABLE_S: Final = 600.0
A_HANDFUL: Final = 1000

# Measured on one core: the seconds of an addition and of a target. Histories vary, so their squares have this many
# times the square of their mean.
PER_ADDITION_S, PER_TARGET_S, SPREAD = 1.2e-9, 2e-4, 2.5


class Default(NamedTuple):
    """A configuration, and about how many seconds of one core its fit takes."""

    config: ModelConfig
    seconds: float


def default_model(snapshot: Path) -> Default:
    """The default for the snapshot in a directory, by its manifest.

    It is slim, unless that takes over ten minutes of a core, or there are fewer than 1,000 interactions.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactDamagedError: its manifest is invalid.
        StoreError: it is temporarily unreadable.
    """
    facts = read_manifest(snapshot)[1].facts
    users, items, interactions = (max(int(facts.get(name, 0)), 1) for name in ("users", "items", "interactions"))
    return default_of(items, interactions, int(SPREAD * interactions * interactions / users / 2))


def default_of(items: int, interactions: int, pairs: int) -> Default:
    """The default for so many items and interactions; `pairs` are the pairs of items of each user, of all users."""
    additions = 2.0 * pairs
    # A target has no more candidates than its users have other items.
    target_s = min(PER_TARGET_S, PER_ADDITION_S * additions / max(items, 1) * 10)
    seconds = additions * PER_ADDITION_S + items * target_s
    if seconds <= AFFORDABLE_S and interactions >= A_HANDFUL:
        return Default(SLIM, seconds)
    return Default(COSINE, additions * PER_ADDITION_S / 4)


def configuration(given: Mapping[str, Any], default: ModelConfig) -> ModelConfig:
    """The configuration of a fit with these options, by the names of `ModelConfig`; numbers may be text.

    Options that name no similarity are those of the default.

    Raises:
        msgspec.ValidationError: they are invalid.
    """
    if "similarity" not in given:
        unset = dict(zip(ModelConfig.__struct_fields__, ModelConfig.__struct_defaults__, strict=True))
        of_default = msgspec.structs.asdict(default)
        kept = {name: value for name, value in of_default.items() if value != unset[name]}
        given = {"similarity": default.similarity, **kept, **given}
    return msgspec.convert(given, ModelConfig, strict=False)


def require_valid(given: Mapping[str, Any]) -> None:
    """Check options before the snapshot is known, which decides on the default.

    Raises:
        msgspec.ValidationError: they are invalid for any default.
    """
    try:
        configuration(given, SLIM)
    except msgspec.ValidationError:
        if "similarity" in given:
            raise
        configuration(given, COSINE)


class Wanted(NamedTuple):
    """What options ask for: those of the model, for `configuration`; and a recency, None without `--recency`."""

    given: dict[str, Any]
    recency: float | None


def parse_recency(text: str) -> float:
    """A recency as people write it.

    Raises:
        ValueError: it is invalid; the message is a clause.
    """
    try:
        recency: float = msgspec.convert(text, Annotated[float, Meta(ge=0, le=MAX_RECENCY)], strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"recency: {str(error).lower()}") from error
    return recency


def parse_options(options: str) -> Wanted:
    """What options of `reckoner fit` ask for, as in `--similarity bm25 --recency 0.5`.

    Raises:
        ValueError: they are invalid; the message is a clause.
    """
    words, given = shlex.split(options.replace("=", " ")), dict[str, Any]()
    names, values = words[::2], words[1::2]
    if len(names) != len(values) or not all(name.startswith("--") for name in names):
        raise ValueError("expected options of `reckoner fit`, as in --similarity bm25 --neighbours 50")
    for name, value in zip(names, values, strict=True):
        given[name.removeprefix("--").replace("-", "_")] = value
    recency = given.pop("recency", None)
    try:
        require_valid(given)
        return Wanted(given, None if recency is None else parse_recency(recency))
    except ValueError as error:
        raise ValueError(str(error).lower()) from error


def require_valid_fit(options: str) -> None:
    """Check RECKONER_FIT where a night would meet it only hours later.

    Raises:
        SettingsError: it is invalid.
    """
    try:
        parse_options(options)
    except ValueError as error:
        raise SettingsError(f"RECKONER_FIT is invalid: {error}.") from error


def recency_of(store: Store, snapshot_id: str, wanted: float | None = None) -> float:
    """The recency of a generation of a snapshot: what is wanted, else the default, which is 0 without times.

    Raises:
        UsageError: the wanted recency needs times, and the snapshot has none.
        StoreError: the store does not hold the snapshot, or cannot be read.
    """
    has_times = "user_times" in store.manifest("snapshots", snapshot_id).arrays
    if wanted and not has_times:
        raise UsageError(
            f"A recency of {wanted:g} needs times, and snapshot {snapshot_id} has none. Import times, or fit with "
            "--recency 0."
        )
    if wanted is None:
        return RECENCY if has_times else 0.0
    return wanted
