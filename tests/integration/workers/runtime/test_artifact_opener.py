"""Each host verifies an artifact once, and again after a change; damaged ones are quarantined."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.errors import ArtifactDamagedError, ForeignFormatError, StoreError
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.manifests import MANIFEST_NAME
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.protocol import QUARANTINED
from reckoner.shared.store.verification import VerificationCache
from reckoner.workers.runtime.artifact_cache import VersionCheck
from reckoner.workers.runtime.artifact_opener import ArtifactOpener
from tests.tampering import flip
from tests.world import World, make_world


class OpenFunction:
    """Opens models, and counts how often one was verified."""

    def __init__(self) -> None:
        self.verified = 0

    def __call__(self, directory: Path, *, verify: bool = False) -> Model:
        self.verified += verify
        return open_model(directory, verify=verify)


class Site:
    """A store of its own with a model, and processes of a host that open it."""

    def __init__(self, world: World, home: Path) -> None:
        self.store, self.home = world.store, home
        self.model = world.generations[0].record.model
        self.directory = world.store.root / "models" / self.model
        self.opener = OpenFunction()
        self.processes = [self.process() for _ in range(2)]

    def process(self) -> ArtifactOpener:
        return ArtifactOpener(self.store, VerificationCache(self.home / "verified"))

    def open(self, number: int = 0) -> tuple[Model, Any]:
        return self.processes[number].open("models", self.model, self.opener)

    def damage(self, name: str = "row_items.npy") -> None:
        """Flip a bit of the last index, or of an exponent, in place."""
        path = self.directory / name
        flip(path, path.stat().st_size - 1, 4)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(make_world(tmp_path / "a störe"), tmp_path / "a home")
    yield made
    for process in made.processes:
        process.release()


def looked_at(watch: VersionCheck) -> VersionCheck:
    """The check, after it ran."""
    watch.run()
    return watch


def test_an_artifact_is_verified_once_by_the_processes_of_a_host(site: Site) -> None:
    """Also after a renewal, and by a process that starts later."""
    for number in (0, 1, 0):
        site.open(number)
    site.store.renew("models", site.model)
    site.process().open("models", site.model, site.opener)
    assert site.opener.verified == 1
    ArtifactOpener(site.store, VerificationCache(site.home / "another")).open("models", site.model, site.opener)
    assert site.opener.verified == 2


def test_a_wrong_clock_does_not_expire_new_stamps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would expire all that was just added."""
    monkeypatch.setattr(time, "time", lambda: 1e11)
    for _ in range(2):
        site.open()
    assert site.opener.verified == 1


def test_what_was_verified_long_ago_is_swept_away(site: Site) -> None:
    """Also entries of an earlier boot; artifacts in use stay."""
    site.open()
    verified = site.home / "verified"
    old = verified / "another boot"
    old.mkdir()
    stamps = [old / "a fingerprint", *verified.glob("*/*")]
    stamps[0].touch()
    for stamp in stamps:
        os.utime(stamp, (1, 1))
    VerificationCache(verified).add("another")
    assert [stamp.suffix for stamp in stamps if stamp.exists()] == [".use"]


def test_where_the_home_cannot_be_written_each_process_verifies(tmp_path: Path) -> None:
    """Once."""
    site = Site(make_world(tmp_path / "a störe"), Path("/dev/null"))
    for number in (0, 0, 1, 1):
        site.open(number)
    assert site.opener.verified == 2


def test_a_stalled_verification_delays_others_only_for_a_while(tmp_path: Path) -> None:
    """A frozen worker blocked all others of its host."""
    verified, began = VerificationCache(tmp_path), time.monotonic()
    with verified.lock("models.m"), VerificationCache(tmp_path).lock("models.m", timeout_s=0.2):
        assert time.monotonic() - began >= 0.2


def test_where_files_cannot_be_locked_each_process_verifies(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems, where each check leaked a descriptor."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    site.open()
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        site.open()
    assert set(os.listdir("/proc/self/fd")) == before
    assert not list(site.home.glob("verified/*/*.new"))
    assert site.opener.verified == 1


def test_files_that_are_not_seen_for_a_moment_do_not_count_as_verified(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their fingerprint is empty, which named the directory of all stamps."""
    VerificationCache(site.home / "verified").add("another")
    fingerprints = iter(["", ""])
    fingerprint = DirectoryStore.fingerprint
    monkeypatch.setattr(
        DirectoryStore,
        "fingerprint",
        lambda *asked: found if (found := next(fingerprints, None)) is not None else fingerprint(*asked),
    )
    site.damage()
    with pytest.raises(ArtifactDamagedError, match="does not match its hash"):
        site.open()


@pytest.mark.parametrize("name", ["row_items.npy", "row_ptr.npy", "row_values.npy", "candidate_ptr.npy"])
def test_a_changed_file_is_verified_again_and_quarantined(site: Site, name: str) -> None:
    """Processes that have it open release it; others get the reason."""
    _, watch = site.open()
    assert looked_at(watch).current
    site.damage(name)
    watch.expire()
    assert not looked_at(watch).current
    with pytest.raises(ArtifactDamagedError, match=f"{name} of artifact {site.model} does not match its hash"):
        site.open(1)
    assert site.store.fingerprint("models", site.model) == QUARANTINED
    with pytest.raises(ArtifactDamagedError, match=f"was quarantined as damaged: {name} of .* does not match its hash"):
        site.open()
    assert [(what, name in why) for what, why in site.store.quarantined()] == [(f"model-{site.model}", True)]


def test_a_truncated_open_artifact_is_released(site: Site) -> None:
    """It cannot be read through its map any more."""
    _, watch = site.open()
    with (site.directory / "row_values.npy").open("r+b") as file:
        file.truncate(200)
    watch.expire()
    assert not looked_at(watch).current
    with pytest.raises(ArtifactDamagedError, match=r"row_values\.npy .* has 200 bytes instead of"):
        site.open()


def test_a_deleted_artifact_stays_readable_where_it_is_open(site: Site) -> None:
    """Its memory maps stay valid."""
    _, watch = site.open()
    site.store.delete("models", site.model)
    watch.expire()
    assert looked_at(watch).current


def test_a_distrusted_artifact_is_verified_again_by_one_process(site: Site) -> None:
    """All release it until then."""
    watches = [site.open(number)[1] for number in (0, 1)]
    site.processes[0].invalidate("models", site.model)
    for watch in watches:
        watch.expire()
    assert [looked_at(watch).current for watch in watches] == [False, False]
    for number in (0, 1):
        assert looked_at(site.open(number)[1]).current
    assert site.opener.verified == 2


def test_a_death_with_an_open_artifact_causes_one_verification(site: Site) -> None:
    """Once. A process that closed it or is alive causes no verification."""
    site.open()
    used = [sys.executable, "-c", USE, str(site.home / "verified"), f"models.{site.model}"]
    for dies in ("no", "yes", "no"):
        subprocess.run([*used, dies], check=True)
        site.open(1)
        site.open(1)
    assert site.opener.verified == 2


@pytest.mark.parametrize(("excused", "verified"), [(True, 1), (False, 2)])
def test_an_excused_death_causes_no_verification(site: Site, excused: bool, verified: int) -> None:
    """A worker was killed from outside; the deaths of other processes count, and a living one stays marked."""
    site.open()
    used = [sys.executable, "-c", USE, str(site.home / "verified"), f"models.{site.model}", "yes"]
    with subprocess.Popen(used) as process:
        assert process.wait() == 0
    cache = VerificationCache(site.home / "verified")
    for pid in (os.getpid(), *([process.pid] if excused else [])):
        cache.excuse_death(pid)
    site.open(1)
    assert site.opener.verified == verified
    assert len(list(site.home.glob(f"verified/*/*.{os.getpid()}.*.use"))) == 2


USE = """
import os, sys
from pathlib import Path
from reckoner.shared.store.verification import VerificationCache

use = VerificationCache(Path(sys.argv[1])).mark_open(sys.argv[2])
if sys.argv[3] == "no":
    use.end()
os._exit(0)
"""


def test_damage_that_the_stamp_does_not_tell_is_found_after_a_death(site: Site) -> None:
    """As with bit rot on a disk."""
    site.open()
    site.damage()
    VerificationCache(site.home / "verified").add(site.store.fingerprint("models", site.model))
    _, watch = site.open(1)
    subprocess.run([sys.executable, "-c", USE, str(site.home / "verified"), f"models.{site.model}", "yes"], check=True)
    with pytest.raises(ArtifactDamagedError, match="does not match its hash"):
        site.process().open("models", site.model, site.opener)
    watch.expire()
    assert not looked_at(watch).current


def test_what_another_release_may_have_made_stays_where_it_is(site: Site) -> None:
    """It is reported; its own release may still use it."""
    manifest = site.directory / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes().replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(ForeignFormatError, match="it is from another release, or damaged"):
        site.open()
    assert manifest.exists()
    assert not list(site.store.quarantined())


def test_an_artifact_published_during_a_quarantine_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker has just rebuilt the model, so the files are not the damaged ones."""
    site.damage()
    fingerprint = site.store.fingerprint("models", site.model)
    path = site.directory / "row_items.npy"
    flip(path, path.stat().st_size - 1, 4)
    with monkeypatch.context() as before:
        before.setattr(DirectoryStore, "fingerprint", lambda *_: fingerprint)
        assert site.store.quarantine("models", site.model, fingerprint, "its bits were flipped.") is None
    assert not list(site.store.quarantined())
    site.open()


def test_damage_that_cannot_be_quarantined_is_reported_and_remembered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may be read-only."""

    def refuse(*_: object) -> None:
        raise StoreError

    monkeypatch.setattr(DirectoryStore, "quarantine", refuse)
    site.damage()
    for _ in range(2):
        with pytest.raises(ArtifactDamagedError, match="does not match its hash"):
            site.open()
    assert site.opener.verified == 1
