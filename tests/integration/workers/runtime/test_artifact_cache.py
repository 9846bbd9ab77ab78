"""The artifact cache: versions are checked now and then, and on request."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import reckoner.workers.runtime.artifact_cache
from reckoner.shared.store.directory import SEEN_WITHIN_S
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.artifact_cache import FRESH_S, OPEN_AT_ONCE, ArtifactCache, VersionCheck, VersionChecker
from reckoner.workers.runtime.threads import Threads
from tests.patience import PATIENCE_S


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    return path


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(1)
    yield threads
    threads.shutdown()


@pytest.fixture
def checker(threads: Threads) -> VersionChecker:
    return VersionChecker(threads, PATIENCE_S)


def watch(manifest: Path) -> VersionCheck:
    """A check of this file alone."""

    def fingerprint() -> str:
        return f"{manifest.stat().st_ino}" if manifest.exists() else ""

    return VersionCheck(fingerprint(), fingerprint)


class Hanging:
    """A file whose checks hang until released; it counts them."""

    def __init__(self) -> None:
        self.count = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def fingerprint(self) -> str:
        self.count += 1
        self.begun.set()
        self.go_on.wait()
        return "a fingerprint"

    def watch(self) -> VersionCheck:
        return VersionCheck("a fingerprint", self.fingerprint)


def replace(manifest: Path) -> None:
    """Replace the file, as a publisher does."""
    (new := manifest.with_name("new")).write_text("{} ")
    os.replace(new, manifest)


async def test_a_recent_check_counts(manifest: Path, checker: VersionChecker, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment, far shorter than a publisher's wait, or until it is expired."""
    assert FRESH_S <= SEEN_WITHIN_S / 4
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 3600.0)
    watched, fresh = watch(manifest), list[bool]()
    fresh.append(watched.is_fresh)
    await checker.check([watched])
    fresh.append(watched.is_fresh)
    watched.expire()
    fresh.append(watched.is_fresh)
    await checker.check([watched])
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 0.0)
    fresh.append(watched.is_fresh)
    assert fresh == [False, True, False, False]


async def test_a_publication_just_now_is_noticed(
    manifest: Path, checker: VersionChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a list is stored, the version is checked, however recent the last check."""
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 3600.0)
    watched = watch(manifest)
    await checker.check([watched])
    assert watched.current
    replace(manifest)
    await checker.check([watched])
    assert not watched.current


def test_an_artifact_deleted_from_the_store_stays_open(manifest: Path) -> None:
    """Its mapped bytes are valid, but a new version may be published at any moment."""
    watched = watch(manifest)
    manifest.unlink()
    watched.run()
    assert (watched.current, watched.is_fresh) == (True, False)


async def test_simultaneous_callers_share_a_check_and_later_ones_get_the_next(
    checker: VersionChecker,
) -> None:
    """A running check says nothing of later publications."""
    file = Hanging()
    watched = file.watch()
    first = [asyncio.create_task(checker.check([watched])) for _ in range(10)]
    await asyncio.to_thread(file.begun.wait)
    watched.expire()
    later = [asyncio.create_task(checker.check([watched])) for _ in range(10)]
    await asyncio.sleep(0)
    file.go_on.set()
    await asyncio.gather(*first, *later)
    assert file.count == 2


async def test_a_hanging_check_takes_up_one_thread(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers; later callers get an answer."""
    file, checker = Hanging(), VersionChecker(threads, 0.05)
    watched = file.watch()
    for _ in range(3):
        answers = await asyncio.gather(*(checker.check([watched]) for _ in range(10)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [NotNowError] * 10
    assert file.count == 1
    file.go_on.set()
    monkeypatch.setattr(checker, "_patience_s", PATIENCE_S)
    await checker.check([watched])
    assert watched.current


async def test_the_error_of_a_check_reaches_its_callers(checker: VersionChecker, manifest: Path) -> None:
    """The next check starts over."""
    troubles = [OSError("stale")]

    def fingerprint() -> str:
        if troubles:
            raise troubles.pop()
        return "a fingerprint"

    watched = VersionCheck("a fingerprint", fingerprint)
    with pytest.raises(OSError, match="stale"):
        await checker.check([watched])
    await checker.check([watched])
    assert watched.current


def test_a_full_cache_drops_the_least_recently_used_entry() -> None:
    """Memory stays bounded."""
    cache = ArtifactCache[int]()
    for number in range(OPEN_AT_ONCE):
        cache.put(f"{number}", number)
    assert cache.get("0") == (0, None)
    cache.put("new", 9)
    assert [cache.get(name)[0] for name in ("0", "1", "new")] == [0, None, 9]
    cache.expire("of what is not there")
