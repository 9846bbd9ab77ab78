"""Tests of what a fit is asked for: options of RECKONER_FIT, and recency."""

from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.errors import SettingsError, UsageError
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.fit_options import parse_fit, recency_of, require_valid_fit
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import write_snapshot


@pytest.mark.parametrize(
    ("options", "config", "recency"),
    [
        ("", ModelConfig(), None),
        ("--similarity bm25 --b=0.5", ModelConfig(similarity="bm25", b=0.5), None),
        ("--neighbours 9 --recency 0.5 --shrink 2", ModelConfig(neighbours=9, shrink=2.0), 0.5),
        ("--recency=0", ModelConfig(), 0.0),
    ],
)
def test_options_give_a_configuration_and_a_recency(options: str, config: ModelConfig, recency: float | None) -> None:
    """None without `--recency`: what is live, or the default, decides."""
    assert parse_fit(options) == (config, recency)


@pytest.mark.parametrize(
    "options", ["--recency", "--recency -1", "--recency 11", "--recency nan", "--recency x", "-r 1"]
)
def test_invalid_options_are_refused(options: str) -> None:
    """With the variable's name."""
    with pytest.raises(SettingsError, match=r"^RECKONER_FIT is invalid: .*\.$"):
        require_valid_fit(options)


def snapshot_in(store: DirectoryStore, *, times: bool) -> str:
    with store.scratch() as scratch:
        made = write_snapshot(
            scratch,
            user_ids=["u"],
            item_ids=["i"],
            users=np.zeros(1, np.int64),
            items=np.zeros(1, np.int64),
            times=np.ones(1, np.int64) if times else None,
        )
        store.publish("snapshots", made, scratch)
    return made


def test_the_default_depends_on_the_data(tmp_path: Path) -> None:
    """A quarter where there are times, none without; what is asked for goes before."""
    store = DirectoryStore(tmp_path)
    timed, timeless = (snapshot_in(store, times=times) for times in (True, False))
    assert [recency_of(store, timed, wanted) for wanted in (None, 0.0, 0.5)] == [0.25, 0.0, 0.5]
    assert [recency_of(store, timeless, wanted) for wanted in (None, 0.0)] == [0.0, 0.0]
    with pytest.raises(UsageError, match=rf"^A recency of 0\.5 needs times, and snapshot {timeless} has none\. Import"):
        recency_of(store, timeless, 0.5)
