"""What a fit is asked for: the configuration of its model, and the recency of its generation; without numpy."""

import shlex
from typing import Annotated

import msgspec
from msgspec import Meta

from reckoner.shared.defaults import MAX_RECENCY, RECENCY
from reckoner.shared.errors import SettingsError, UsageError
from reckoner.shared.store.manifests import read_manifest
from reckoner.shared.store.model_config import ModelConfig, parse_config
from reckoner.shared.store.protocol import Store


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


def parse_fit(options: str) -> tuple[ModelConfig, float | None]:
    """What options of `reckoner fit` ask for, as in `--similarity bm25 --recency 0.5`; None without `--recency`.

    Raises:
        ValueError: they are invalid; the message is a clause.
    """
    words, recency = shlex.split(options.replace("=", " ")), None
    if "--recency" in words[:-1]:
        at = words.index("--recency")
        recency = parse_recency(words[at + 1])
        del words[at : at + 2]
    return parse_config(shlex.join(words)), recency


def require_valid_fit(options: str) -> None:
    """Check RECKONER_FIT where a night would meet it only hours later.

    Raises:
        SettingsError: it is invalid.
    """
    try:
        parse_fit(options)
    except ValueError as error:
        raise SettingsError(f"RECKONER_FIT is invalid: {error}.") from error


def recency_of(store: Store, snapshot_id: str, wanted: float | None = None) -> float:
    """The recency of a generation of a snapshot: what is wanted, else the default, which is 0 without times.

    Raises:
        UsageError: the wanted recency needs times, and the snapshot has none.
        StoreError: the store does not hold the snapshot, or cannot be read.
    """
    _, manifest = read_manifest(store.fetch("snapshots", snapshot_id))
    has_times = "user_times" in manifest.arrays
    if wanted and not has_times:
        raise UsageError(
            f"A recency of {wanted:g} needs times, and snapshot {snapshot_id} has none. Import times, or fit with "
            "--recency 0."
        )
    if wanted is None:
        return RECENCY if has_times else 0.0
    return wanted
