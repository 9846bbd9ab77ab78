"""The shelves: what lies in the store is looked at now and then, and at once where that is asked for."""

import os
from pathlib import Path

import pytest

import workers.shelf
from workers.shelf import OPEN_AT_ONCE, Shelf, Watch


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    return path


def watch(manifest: Path) -> Watch:
    """One that looks at this file alone."""

    def seal() -> str:
        return f"{manifest.stat().st_ino}" if manifest.exists() else ""

    return Watch(seal(), seal, lambda: manifest.exists() and manifest.stat())


def replace(manifest: Path) -> None:
    """Another one, as whoever publishes anew leaves it."""
    (new := manifest.with_name("new")).write_text("{} ")
    os.replace(new, manifest)


def test_what_another_worker_published_is_seen_when_the_last_look_is_old(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then what is open serves."""
    monkeypatch.setattr(workers.shelf, "LOOK_S", 3600.0)
    shelf = Shelf[str]()
    shelf.put("a", "model", watch(manifest))
    assert shelf.get("a") == "model"
    replace(manifest)
    assert shelf.get("a") == "model"
    monkeypatch.setattr(workers.shelf, "LOOK_S", 0.0)
    assert shelf.get("a") is None


def test_what_was_published_until_this_moment_is_seen_when_that_matters(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a list is about to be stored that was made of it."""
    monkeypatch.setattr(workers.shelf, "LOOK_S", 3600.0)
    shelf = Shelf[str]()
    shelf.put("a", "model", watch(manifest))
    assert shelf.get("a") == "model"
    assert shelf.is_still_current("a", "model")
    assert not shelf.is_still_current("a", "another")
    replace(manifest)
    assert not shelf.is_still_current("a", "model")
    assert shelf.get("a") is None


def test_who_asks_to_look_again_sees_at_once_what_was_published(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has not changed stays open, and what nobody has open need not be known."""
    monkeypatch.setattr(workers.shelf, "LOOK_S", 3600.0)
    shelf = Shelf[str]()
    shelf.put("a", "model", watch(manifest))
    shelf.put("b", "record")
    for name in "abc":
        shelf.look_again(name)
    assert (shelf.get("a"), shelf.get("b")) == ("model", "record")
    replace(manifest)
    shelf.look_again("a")
    assert shelf.get("a") is None


def test_what_is_gone_from_the_store_stays_open(manifest: Path) -> None:
    """Its bytes are mapped, and good."""
    shelf = Shelf[str]()
    shelf.put("a", "model", watch(manifest))
    manifest.unlink()
    shelf.look_again("a")
    assert shelf.get("a") == "model"


def test_a_shelf_lets_go_of_what_was_not_asked_for_the_longest() -> None:
    """Memory stays bounded."""
    shelf = Shelf[int]()
    for number in range(OPEN_AT_ONCE):
        shelf.put(f"{number}", number)
    assert shelf.get("0") == 0
    shelf.put("new", 9)
    assert [shelf.get(name) for name in ("0", "1", "new")] == [0, None, 9]
