"""The store keeps what it was given, refuses what differs, and survives company, damage and a full disk."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError
from reckoner.shared.settings import Settings
from reckoner.shared.store.artifacts import open_artifact, write_artifact
from reckoner.shared.store.directory import SEEN_WITHIN_S, DirectoryStore
from reckoner.shared.store.location import imported_last, open_store
from reckoner.shared.store.manifests import MANIFEST_NAME


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a store of 100 % #ü?"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    made = open_store(root.as_uri())
    assert isinstance(made, DirectoryStore)
    return made


def publish(store: DirectoryStore, size: int = 10, artifact_id: str | None = None) -> str:
    with store.scratch() as directory:
        made = write_artifact(directory, "snapshots", {"numbers": np.arange(size)}, {}, artifact_id=artifact_id)
        store.publish("snapshots", made, directory)
    return made


def grow_old(path: Path, age_s: float) -> None:
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_published_artifact_can_be_fetched(store: DirectoryStore) -> None:
    """It opens whole after its scratch directory is gone."""
    artifact_id = publish(store)
    assert open_artifact(store.fetch("snapshots", artifact_id), "snapshots", verify=True).id == artifact_id
    assert [entry.id for entry in store.entries("snapshots")] == [artifact_id]
    assert list((store.root / "scratch").iterdir()) == []


def test_the_url_is_percent_decoded(root: Path, store: DirectoryStore) -> None:
    """Spaces, percent signs and letters beyond ASCII are part of the path."""
    assert store.root == root
    assert open_store(root.as_uri().replace("file://", "file://localhost")).current_snapshot() is None


@pytest.mark.parametrize(
    "url",
    ["", "/a/path", "s3://key:secret@bucket/a", "file:relative", "file://elsewhere/a", "file:///a?b", "file:///a#b"],
)
def test_other_urls_are_refused(url: str) -> None:
    """What names no directory of this host is refused in a sentence that shows no password."""
    with pytest.raises(StoreError, match="file:///absolute/path") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("tail", ["file/below", "nul%00"])
def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path, tail: str) -> None:
    """A store below a file, or at an impossible path, is refused in a sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be created"):
        open_store(f"{tmp_path.as_uri()}/{tail}")


def test_unknown_artifacts_are_missing(store: DirectoryStore) -> None:
    """Unknown ids, and ids that would be paths elsewhere."""
    for artifact_id in ("0123", "", "..", "../snapshots", "a/b", "a\n", "\0", "\udcff"):
        with pytest.raises(ArtifactMissingError):
            store.fetch("models", artifact_id)
        with pytest.raises(ArtifactMissingError):
            store.get_part(artifact_id)


def test_publishing_again_renews_the_age(store: DirectoryStore) -> None:
    """What is there with the same hash is success, and counts as new."""
    artifact_id = publish(store)
    for path in store.fetch("snapshots", artifact_id).iterdir():
        grow_old(path, 1000)
    assert next(iter(store.entries("snapshots"))).age_s >= 999
    assert publish(store) == artifact_id
    assert next(iter(store.entries("snapshots"))).age_s < 100


def test_other_contents_under_the_same_id_are_refused(store: DirectoryStore) -> None:
    """Nothing that was published is ever overwritten."""
    publish(store, 10, "same")
    with pytest.raises(StoreError, match=r"numbers\.npy of same exists in the store .* with other contents"):
        publish(store, 11, "same")
    assert len(open_artifact(store.fetch("snapshots", "same"), "snapshots", verify=True).arrays["numbers"]) == 10


def test_an_artifact_is_published_under_its_own_id_only(store: DirectoryStore, tmp_path: Path) -> None:
    """A wrong id is refused before anything is written."""
    write_artifact(tmp_path, "snapshots", {}, {})
    with pytest.raises(StoreError, match="not other"):
        store.publish("snapshots", "other", tmp_path)
    assert list(store.entries("snapshots")) == []


def test_an_artifact_without_manifest_is_missing(store: DirectoryStore) -> None:
    """What was published in part only is listed but cannot be fetched, and publishing completes it."""
    artifact_id = publish(store)
    (store.fetch("snapshots", artifact_id) / MANIFEST_NAME).unlink()
    with pytest.raises(ArtifactMissingError, match=artifact_id):
        store.fetch("snapshots", artifact_id)
    assert [entry.id for entry in store.entries("snapshots")] == [artifact_id]
    publish(store)
    assert open_artifact(store.fetch("snapshots", artifact_id), "snapshots", verify=True)


def test_a_manifest_in_a_foreign_place_is_damage(store: DirectoryStore) -> None:
    """An artifact under another id than its manifest's is not handed out."""
    directory = store.fetch("snapshots", publish(store))
    directory.rename(directory.with_name("other"))
    with pytest.raises(ArtifactDamagedError, match="of snapshot other belongs to"):
        store.fetch("snapshots", "other")


@pytest.mark.parametrize("how", ["flipped", "gone", "manifest gone"])
def test_changed_artifacts_are_detected(store: DirectoryStore, how: str) -> None:
    """Even a changed byte that neither the size nor the manifest shows."""
    artifact_id = publish(store)
    store.verify("snapshots", artifact_id)
    directory = store.root / "snapshots" / artifact_id
    path = directory / (MANIFEST_NAME if how == "manifest gone" else "numbers.npy")
    data = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(data[:-1] + b"\xff")
    with pytest.raises(ArtifactMissingError if how == "manifest gone" else ArtifactDamagedError, match=artifact_id):
        store.verify("snapshots", artifact_id)


def test_an_artifact_from_another_file_system_is_copied(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no link can be made across, the bytes are copied first."""
    link = os.link
    scratch = store.root / "scratch"

    def link_within(source: Path, target: Path) -> None:
        if not source.is_relative_to(scratch):
            raise OSError(18, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", link_within)
    outside = store.root.parent / "outside"
    outside.mkdir()
    artifact_id = write_artifact(outside, "snapshots", {"numbers": np.arange(3)}, {})
    store.publish("snapshots", artifact_id, outside)
    assert open_artifact(store.fetch("snapshots", artifact_id), "snapshots", verify=True)


def test_parts_are_stored_and_read(store: DirectoryStore) -> None:
    """A part is named by its hash, and putting it again renews its age."""
    name = store.put_part(b"some bytes")
    assert store.get_part(name) == b"some bytes"
    grow_old(store.root / "parts" / name, 1000)
    assert store.put_part(b"some bytes") == name
    assert [(entry.id, entry.age_s < 100) for entry in store.entries("parts")] == [(name, True)]


def test_a_damaged_part_is_detected_and_replaced(store: DirectoryStore) -> None:
    """A part that does not match its name is never handed out, and putting it again makes it whole."""
    name = store.put_part(b"some bytes")
    (store.root / "parts" / name).write_bytes(b"other bytes")
    with pytest.raises(ArtifactDamagedError, match=name):
        store.get_part(name)
    store.put_part(b"some bytes")
    assert store.get_part(name) == b"some bytes"


def test_the_current_snapshot_is_the_one_that_was_set(store: DirectoryStore) -> None:
    """There is none at first, and only one that is there can be set."""
    assert store.current_snapshot() is None
    for size in (1, 2):
        artifact_id = publish(store, size)
        store.set_current_snapshot(artifact_id)
        assert store.current_snapshot() == artifact_id
    with pytest.raises(ArtifactMissingError):
        store.set_current_snapshot("0123")
    assert store.current_snapshot() == artifact_id


def test_deleting_leaves_open_arrays_readable(store: DirectoryStore) -> None:
    """What is deleted is gone for those who come; whoever has it mapped reads on; deleting twice is once."""
    artifact_id, part = publish(store), store.put_part(b"part")
    artifact = open_artifact(store.fetch("snapshots", artifact_id), "snapshots")
    for _ in range(2):
        store.delete("snapshots", artifact_id)
        store.delete("parts", part)
    assert list(store.entries("snapshots")) == list(store.entries("parts")) == []
    assert artifact.arrays["numbers"].sum() == 45
    assert list((store.root / "scratch").iterdir()) == []


def test_leftovers_of_killed_processes_are_removed(store: DirectoryStore) -> None:
    """What has lain in the scratch place for over a day goes, and what is younger stays."""
    scratch = store.root / "scratch"
    for name, age_s in (("old", 90_000), ("young", 80_000)):
        (scratch / name).mkdir()
        (scratch / name / "file").touch()
        grow_old(scratch / name, age_s)
    with store.scratch():
        pass
    assert [path.name for path in scratch.iterdir()] == ["young"]


def test_a_scratch_directory_is_gone_after_an_error(store: DirectoryStore) -> None:
    """An error inside passes through and leaves nothing."""
    with pytest.raises(FileNotFoundError), store.scratch() as directory:
        (directory / "nowhere" / "file").touch()
    assert list((store.root / "scratch").iterdir()) == []


def test_what_was_renewed_meanwhile_is_not_deleted(store: DirectoryStore) -> None:
    """An old artifact goes, unless somebody took it up after it was found to be old."""
    artifact_id = publish(store, 10)
    for path in (store.root / "snapshots" / artifact_id).iterdir():
        os.utime(path, (1, 1))
    store.renew("snapshots", artifact_id)
    store.delete("snapshots", artifact_id, idle_s=3600)
    assert [entry.id for entry in store.entries("snapshots")] == [artifact_id]
    store.delete("snapshots", artifact_id)
    assert not list(store.entries("snapshots"))
    with pytest.raises(ArtifactMissingError):
        store.renew("snapshots", artifact_id)


def test_many_may_publish_and_delete_at_once(store: DirectoryStore) -> None:
    """Threads that publish the same artifact, put the same part and set the pointer at once all succeed."""
    gate = threading.Barrier(8)

    def everything(_: int) -> str:
        gate.wait()
        artifact_id = publish(store, 50_000)
        store.set_current_snapshot(artifact_id)
        return store.get_part(store.put_part(b"part" * 10_000)).decode()[:4] + artifact_id

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(everything, range(8)))
    assert len(answers) == 1
    assert open_artifact(store.fetch("snapshots", store.current_snapshot() or ""), "snapshots", verify=True)


FILL_THE_DISK = """
import resource, sys
import numpy as np
from reckoner.shared.store.artifacts import write_artifact
from reckoner.shared.errors import StoreError
from reckoner.shared.store.location import open_store

store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
def write():
    with store.scratch() as directory:
        artifact_id = write_artifact(directory, "snapshots", {"numbers": np.arange(100_000)}, {})
        store.publish("snapshots", artifact_id, directory)
for attempt in (write, lambda: store.put_part(bytes(100_000))):
    try:
        attempt()
    except StoreError as error:
        print(error)
"""


def test_a_full_disk_is_one_sentence(store: DirectoryStore) -> None:
    """When the disk is full, writing says so, leaves nothing behind, and the current snapshot stays."""
    current = publish(store)
    store.set_current_snapshot(current)
    child = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, store.root.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    sentences = child.stdout.splitlines()
    assert len(sentences) == 2
    assert sentences[0] == "The files of snapshots cannot be written: File too large."
    assert "cannot be written: File too large" in sentences[1]
    assert open_store(store.root.as_uri()).current_snapshot() == current
    assert [entry.id for entry in store.entries("snapshots")] == [current]
    assert list(store.entries("parts")) == []
    assert list((store.root / "scratch").iterdir()) == []


def test_what_was_imported_last_is_not_known_of_a_store_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As status would be that hung with it: a pipe that nobody writes to is read without end."""
    monkeypatch.setattr("reckoner.shared.store.location.IMPORTED_WITHIN_S", 0.05)
    pipe = tmp_path / "current-snapshot"
    os.mkfifo(pipe)
    assert imported_last(Settings(store_url=tmp_path.as_uri())) is None
    with pipe.open("w") as file:
        file.write("let go")


def test_a_quarantined_artifact_is_published_after_all_workers_have_noticed(store: DirectoryStore) -> None:
    """Until then they use their open copies."""
    artifact = publish(store)
    began = time.monotonic()
    assert store.quarantine("snapshots", artifact, store.fingerprint("snapshots", artifact), "damaged") is not None
    assert publish(store) == artifact
    # The clock of files moves in steps.
    assert time.monotonic() - began >= 0.9 * SEEN_WITHIN_S


def test_a_quarantine_during_a_publication_does_not_prevent_it(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that finds the damage takes the directory away under whoever mends it: an import failed then."""
    artifact, put, puts = publish(store), DirectoryStore._put, list[str]()

    def take_away_first(self: DirectoryStore, source: Path, target: Path, sha256: str) -> None:
        if not puts:
            assert (
                store.quarantine("snapshots", artifact, store.fingerprint("snapshots", artifact), "damaged") is not None
            )
        puts.append(target.name)
        put(self, source, target, sha256)

    monkeypatch.setattr(DirectoryStore, "_put", take_away_first)
    assert publish(store) == artifact
    store.verify("snapshots", artifact)
    assert puts.count("manifest.json") == 1


def test_a_quarantined_artifact_is_unreplaced_until_it_is_published_again(store: DirectoryStore) -> None:
    """Each damage has its own number, and foreign files beside them are ignored."""
    (store.root / "damaged" / "model-no id").mkdir()
    seen = []
    for _ in range(2):
        snapshot = publish(store)
        assert store.unreplaced("snapshots") == {}
        store.quarantine("snapshots", snapshot, store.fingerprint("snapshots", snapshot), "as a test wants")
        [(missed, damage)] = store.unreplaced("snapshots").items()
        assert missed == snapshot
        seen.append(damage)
    assert seen[0] != seen[1]
    assert store.unreplaced("models") == {}
