"""The options of a fit, and its default."""

from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.errors import SettingsError, UsageError
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.fit_options import (
    COSINE,
    SLIM,
    configuration,
    default_model,
    parse_options,
    recency_of,
    require_valid_fit,
)
from reckoner.shared.store.manifests import FORMAT_VERSION, MANIFEST_NAME, Manifest
from reckoner.shared.store.model_config import ModelConfig, config_of, fit_spec, model_id
from reckoner.shared.store.snapshots import write_snapshot


def snapshot_of(directory: Path, users: int, items: int, interactions: int) -> Path:
    facts = {"users": users, "items": items, "interactions": interactions}
    (directory / MANIFEST_NAME).write_bytes(Manifest(FORMAT_VERSION, "snapshots", facts, {}).encode())
    return directory


@pytest.mark.parametrize(
    ("counts", "default", "seconds"),
    [
        ((600, 9_000, 100_000), SLIM, (0.05, 5)),
        ((138_493, 26_744, 20_000_263), SLIM, (5, 30)),
        ((1_400_000, 233_916, 2_100_000), SLIM, (0.01, 60)),
        ((2_000_000, 200_000, 1_000_000_000), COSINE, (100, 1000)),
        ((0, 0, 0), COSINE, (0, 1)),
        ((100, 50, 999), COSINE, (0, 1)),
        ((100, 50, 1000), SLIM, (0, 1)),
    ],
)
def test_slim_is_the_default_while_it_is_affordable(
    tmp_path: Path, counts: tuple[int, int, int], default: ModelConfig, seconds: tuple[float, float]
) -> None:
    """And if there are enough interactions, by the counts in the snapshot's manifest."""
    found = default_model(snapshot_of(tmp_path, *counts))
    assert found.config == default
    assert seconds[0] <= found.seconds <= seconds[1]


def test_options_without_a_similarity_are_the_defaults() -> None:
    """A similarity that is named has its own defaults."""
    assert configuration({"neighbours": "50"}, SLIM) == ModelConfig("slim", 50)
    assert configuration({"neighbours": 50}, COSINE) == ModelConfig("cosine", 50, user_norm=1.0)
    assert configuration({"similarity": "cosine"}, COSINE) == ModelConfig("cosine")
    assert configuration(parse_options("--l2-share=2 --candidates 30").given, SLIM) == ModelConfig(
        "slim", candidates=30, l2_share=2.0
    )


@pytest.mark.parametrize("options", ["--power 2", "--l1 0", "--similarity slim --neighbours 3", ""])
def test_settings_that_some_default_takes_are_valid(options: str) -> None:
    """Which default it is follows only from the snapshot."""
    require_valid_fit(options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--alpha 2", "cosine takes no alpha"),
        ("--similarity slim --shrink 2", "slim takes no shrink"),
        ("--candidates 0", "cosine takes no candidates|expected `int` >= 1"),
        ("neighbours 3", "expected options"),
    ],
)
def test_other_settings_are_refused(options: str, why: str) -> None:
    """In one sentence."""
    with pytest.raises(SettingsError, match=why):
        require_valid_fit(options)


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (SLIM, "slim"),
        (COSINE, "cosine user_norm=1"),
        (ModelConfig("bm25", 50, k1=0.5, b=0.3), "bm25 neighbours=50 b=0.3"),
        (ModelConfig("slim", candidates=200, l2=5.0), "slim l2=5"),
    ],
)
def test_a_label_leaves_out_what_is_a_default(config: ModelConfig, label: str) -> None:
    """For people."""
    assert config.label == label


def test_old_models_keep_their_ids() -> None:
    """Their manifests hold the parameters that were defaults once; what was added later is not held as a default."""
    assert model_id("snapshot", ModelConfig()) == "fd12a0a8dd795a14"
    assert model_id("snapshot", ModelConfig("bm25", k1=1.2)) == "c4f0da51cb6a736a"
    assert model_id("snapshot", ModelConfig("rp3beta", alpha=1.0)) == "e86eb90be758a1f5"
    assert model_id("snapshot", ModelConfig("cosine", power=2.0, user_norm=0.5)) == "6a47e6f7efed705f"


def test_a_fit_carries_its_whole_configuration() -> None:
    """Numbers cross Redis as floats, and come back as they were."""
    config = ModelConfig("slim", 50, candidates=30, l1=0.5)
    spec = fit_spec("0" * 16, config, 20)
    assert config_of(spec).facts() == config.facts()
    assert spec.parameters["candidates"] == 30.0


@pytest.mark.parametrize(
    ("options", "config", "recency"),
    [
        ("", SLIM, None),
        ("--similarity bm25 --b=0.5", ModelConfig(similarity="bm25", b=0.5), None),
        ("--similarity cosine --neighbours 9 --recency 0.5 --shrink 2", ModelConfig(neighbours=9, shrink=2.0), 0.5),
        ("--recency=0 --l2 9", ModelConfig("slim", l2=9.0), 0.0),
    ],
)
def test_options_give_a_configuration_and_a_recency(options: str, config: ModelConfig, recency: float | None) -> None:
    """None without `--recency`: what is live, or the default, decides."""
    wanted = parse_options(options)
    assert (configuration(wanted.given, SLIM), wanted.recency) == (config, recency)


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
