"""A store in a bucket keeps what it was given, for hosts that share no directory."""

import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError
from reckoner.shared.settings import Settings
from reckoner.shared.store.artifacts import open_artifact, write_artifact
from reckoner.shared.store.bucket import Bucket
from reckoner.shared.store.location import cache_directory, describe_store, imported_last, store_of
from reckoner.shared.store.manifests import MANIFEST_NAME
from reckoner.shared.store.protocol import NOT_FETCHED, QUARANTINED, Store
from tests.objects import Fault, ObjectProxy
from tests.patience import PATIENCE_S
from tests.processes import environment
from tests.s3 import SECRET

pytestmark = pytest.mark.s3

NewHost = Callable[..., Store]


@pytest.fixture
def new_host(bucket: str, tmp_path: Path) -> NewHost:
    """Open the store `PREFIX` of the bucket as another host: `new_host("a", store_cache_mb=1)`."""

    def open_(name: str = "a", prefix: str = "a/store", store_cache_mb: int = 1) -> Store:
        home = str(tmp_path / f"höme {name}")
        return store_of(Settings(store_url=f"{bucket}/{prefix}", home=home, store_cache_mb=store_cache_mb))

    return open_


@pytest.fixture
def objects(bucket: str) -> Bucket:
    """The store's objects."""
    return Bucket(f"{bucket}/a/store")


def publish(store: Store, size: int = 10, artifact_id: str | None = None) -> str:
    with store.scratch() as directory:
        arrays = {"numbers": np.arange(size), "none": np.empty(0)}
        made = write_artifact(directory, "snapshots", arrays, {}, artifact_id=artifact_id)
        store.publish("snapshots", made, directory)
    return made


def array_of(objects: Bucket, artifact_id: str) -> str:
    """The largest object of an artifact."""
    return max(objects.list(f"snapshots/{artifact_id}"), key=lambda found: found.size).key


def test_another_host_gets_the_same_bytes(new_host: NewHost, objects: Bucket) -> None:
    """Objects are named by their hashes, and there is nothing else."""
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here)
    here.set_current_snapshot(artifact_id)
    assert there.fingerprint("snapshots", artifact_id) == NOT_FETCHED
    one, other = (store.fetch("snapshots", artifact_id) for store in (here, there))
    assert one != other
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }
    assert open_artifact(other, "snapshots", verify=True).id == artifact_id
    assert there.current_snapshot() == artifact_id
    assert [entry.id for entry in there.entries("snapshots")] == [artifact_id]
    arrays = there.manifest("snapshots", artifact_id).arrays.values()
    kept = {f"snapshots/{artifact_id}/{name}" for name in (MANIFEST_NAME, *(f"{file.sha256}.npy" for file in arrays))}
    assert {found.key for found in objects.list("snapshots")} == kept


def test_two_prefixes_of_a_bucket_are_two_stores(new_host: NewHost) -> None:
    """Neither sees, renews or deletes what the other has."""
    one, other = new_host(prefix="a"), new_host(prefix="a/b")
    artifact_id = publish(one)
    with pytest.raises(ArtifactMissingError):
        other.fetch("snapshots", artifact_id)
    other.delete("snapshots", artifact_id)
    assert one.set_mark("owner.json", b"one") == b"one"
    assert other.mark("owner.json") is None
    assert [entry.id for entry in one.entries("snapshots")] == [artifact_id]
    assert list(other.entries("snapshots")) == []


def test_a_mark_is_set_by_the_first_caller(new_host: NewHost) -> None:
    """Of many at once, all get the same one."""
    stores = [new_host(str(number)) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        marks = set(threads.map(lambda store: store.set_mark("owner.json", str(id(store)).encode()), stores))
    assert len(marks) == 1
    assert stores[0].set_mark("owner.json", b"mine", replace=True) == b"mine"
    stores[1].remove_mark("owner.json")
    assert stores[0].mark("owner.json") is None


def test_a_part_can_be_read_back(new_host: NewHost, objects: Bucket) -> None:
    """Its name is its hash, and what does not match is damaged until it is put again."""
    here, there = new_host("a"), new_host("b")
    name = here.put_part(b"some bytes")
    assert there.get_part(name) == b"some bytes"
    objects.put(f"parts/{name}", b"other bytes")
    with pytest.raises(ArtifactDamagedError):
        there.get_part(name)
    assert there.put_part(b"some bytes") == name
    assert here.get_part(name) == b"some bytes"
    here.delete("parts", name)
    with pytest.raises(ArtifactMissingError):
        there.get_part(name)
    with pytest.raises(ArtifactMissingError):
        there.get_part("../owner.json")


def test_other_contents_under_a_name_are_refused(new_host: NewHost) -> None:
    """The manifest is created only if there is none; the same contents are renewed."""
    here, there = new_host("a"), new_host("b")
    publish(here, 10, "same")
    publish(there, 10, "same")
    with pytest.raises(StoreError, match="other contents"):
        publish(there, 11, "same")
    assert open_artifact(there.fetch("snapshots", "same"), "snapshots").arrays["numbers"].size == 10


def test_an_entry_is_deleted_when_it_is_old_enough(new_host: NewHost, objects: Bucket) -> None:
    """By the bucket's clock; nothing is left of it."""
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here)
    there.delete("snapshots", artifact_id, idle_s=60.0)
    there.renew("snapshots", artifact_id)
    there.delete("snapshots", artifact_id)
    assert objects.list("snapshots") == []
    with pytest.raises(ArtifactMissingError):
        there.fetch("snapshots", artifact_id)
    with pytest.raises(ArtifactMissingError):
        there.renew("snapshots", artifact_id)
    with pytest.raises(ArtifactMissingError):
        there.set_current_snapshot(artifact_id)


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "manifest"])
def test_a_damaged_artifact_is_quarantined_and_can_be_published_again(
    new_host: NewHost, objects: Bucket, how: str
) -> None:
    """A host that has it goes on with its own files; another one is told."""
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here, 1000)
    array, manifest = array_of(objects, artifact_id), f"snapshots/{artifact_id}/{MANIFEST_NAME}"
    data = objects.get(array) or b""
    match how:
        case "flipped":
            objects.put(array, data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            objects.put(array, data[:-9])
        case "gone":
            objects.delete([array])
        case "manifest":
            objects.put(manifest, (objects.get(manifest) or b"")[:-9])
    with pytest.raises(ArtifactDamagedError):
        there.fetch("snapshots", artifact_id)
    assert there.fingerprint("snapshots", artifact_id) == QUARANTINED
    assert list(there.unreplaced("snapshots")) == [artifact_id]
    assert [name for name, _ in there.quarantined()] == [f"snapshot-{artifact_id}"]
    assert (there.quarantine_path("snapshots", artifact_id) / MANIFEST_NAME).exists()
    with pytest.raises(ArtifactDamagedError, match="quarantined as damaged"):
        there.renew("snapshots", artifact_id)
    assert open_artifact(here.fetch("snapshots", artifact_id), "snapshots", verify=True).id == artifact_id
    assert publish(there, 1000) == artifact_id
    assert there.unreplaced("snapshots") == {}
    there.verify("snapshots", artifact_id)
    assert open_artifact(there.fetch("snapshots", artifact_id), "snapshots", verify=True).id == artifact_id


def test_damaged_files_of_a_host_are_fetched_again(new_host: NewHost) -> None:
    """The objects stay, and so do the files of other hosts."""
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here)
    path = there.fetch("snapshots", artifact_id)
    fingerprint = there.fingerprint("snapshots", artifact_id)
    assert there.quarantine("snapshots", artifact_id, fingerprint, "it is damaged") is not None
    assert there.fingerprint("snapshots", artifact_id) == NOT_FETCHED
    assert there.unreplaced("snapshots") == {}
    assert there.fetch("snapshots", artifact_id) == path
    assert here.fetch("snapshots", artifact_id).exists()


def test_the_url_is_checked_and_no_message_has_a_secret(bucket: str, tmp_path: Path) -> None:
    """Without a prefix, or with a password, or with a bucket that is not there."""
    for url in (bucket, f"{bucket}/", "s3://key:secret@bucket/a", "s3://bucket/a?secret=1", "gs:///a"):
        with pytest.raises(StoreError, match=r"Write .*://bucket/prefix") as caught:
            store_of(Settings(store_url=url, home=str(tmp_path)))
        assert "secret" not in str(caught.value)
        with pytest.raises(StoreError):
            describe_store(url)
    assert describe_store(f"{bucket}/a/b/") == f"{bucket}/a/b"
    with pytest.raises(StoreError, match="there is no such bucket"):
        store_of(Settings(store_url=f"{bucket}-not/a", home=str(tmp_path)))


def test_the_last_import_is_shown_within_a_time(bucket: str, new_host: NewHost, tmp_path: Path) -> None:
    """None if there is none."""
    settings = Settings(store_url=f"{bucket}/a/store", home=str(tmp_path / "elsewhere"))
    assert imported_last(settings) is None
    store = new_host()
    artifact_id = publish(store)
    store.set_current_snapshot(artifact_id)
    assert imported_last(settings) == artifact_id
    assert not cache_directory(settings).exists()


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """The bytes of a request, which are few."""
    monkeypatch.setattr("reckoner.shared.store.object_store.CHUNK_BYTES", 10_000)
    return 10_000


FETCH = """
import sys
from reckoner.shared.settings import load_settings
from reckoner.shared.store.location import store_of
store = store_of(load_settings())
print("ready", flush=True)
sys.stdin.readline()
print(store.fetch("snapshots", sys.argv[1]))
"""


def fetchers(bucket: str, home: Path, artifact_id: str, count: int) -> "list[subprocess.Popen[str]]":
    """Processes of a host that are about to fetch an artifact."""
    environ = environment(RECKONER_STORE_URL=f"{bucket}/a/store", RECKONER_HOME=home)
    command = [sys.executable, "-c", FETCH, artifact_id]
    started = [subprocess.Popen(command, env=environ, stdin=PIPE, stdout=PIPE, text=True) for _ in range(count)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return started


def test_processes_of_a_host_fetch_an_artifact_once(
    bucket: str, new_host: NewHost, objects: Bucket, objects_proxy: ObjectProxy, tmp_path: Path
) -> None:
    """However many ask at once; all get the same directory."""
    artifact_id = publish(new_host("a"), 1000)
    array = array_of(objects, artifact_id).rpartition("/")[2]
    objects_proxy.requests.clear()
    objects_proxy.fault = "slow"
    started = fetchers(bucket, tmp_path / "höme b", artifact_id, 3)
    said = {process.communicate("\n", timeout=PATIENCE_S)[0] for process in started}
    assert len(said) == 1
    assert open_artifact(Path(said.pop().strip()), "snapshots", verify=True).id == artifact_id
    assert objects_proxy.reads(array) == 1


def test_a_killed_download_goes_on_where_it_was(
    bucket: str, new_host: NewHost, objects: Bucket, objects_proxy: ObjectProxy, chunks: int, tmp_path: Path
) -> None:
    """What is there is not fetched again, and a part of a chunk neither."""
    artifact_id = publish(new_host("a"), 5000)
    array = array_of(objects, artifact_id).rpartition("/")[2]
    whole = new_host("a").fetch("snapshots", artifact_id)
    there = new_host("b")
    room = next((tmp_path / "höme b").glob("cache/*/scratch")) / f"filling-snapshots-{artifact_id}"
    room.mkdir()
    shutil.copy(whole / "none.npy", room)
    (room / "numbers.npy").write_bytes((whole / "numbers.npy").read_bytes()[: 2 * chunks + 5])
    objects_proxy.requests.clear()
    directory = there.fetch("snapshots", artifact_id)
    # 40,128 bytes in all.
    assert objects_proxy.reads(array) == 3
    assert objects_proxy.reads(".npy") == 3
    assert open_artifact(directory, "snapshots", verify=True).id == artifact_id
    assert not room.exists()


def test_a_process_that_waits_takes_over_from_one_that_is_killed(
    bucket: str, new_host: NewHost, objects: Bucket, objects_proxy: ObjectProxy, tmp_path: Path
) -> None:
    """The lock ends with its process."""
    artifact_id = publish(new_host("a"), 1000)
    array = array_of(objects, artifact_id).rpartition("/")[2]
    first, second = fetchers(bucket, tmp_path / "höme b", artifact_id, 2)
    objects_proxy.requests.clear()
    objects_proxy.fault, objects_proxy.delay_s = "slow", 600.0
    assert first.stdin is not None
    first.stdin.write("\n")
    first.stdin.flush()
    while not objects_proxy.requests:
        time.sleep(0.01)
    objects_proxy.fault = ""
    first.kill()
    first.communicate()
    said, _ = second.communicate("\n", timeout=PATIENCE_S)
    assert open_artifact(Path(said.strip()), "snapshots", verify=True).id == artifact_id
    assert objects_proxy.reads(array) == 1


@pytest.mark.parametrize(("fault", "every"), [("error", 2), ("away", 3), ("cut", 2), ("slow", 1)])
def test_a_fault_now_and_then_is_not_noticed(
    new_host: NewHost, objects_proxy: ObjectProxy, chunks: int, fault: Fault, every: int
) -> None:
    """Requests are tried again, and all bytes are there."""
    objects_proxy.fault, objects_proxy.every, objects_proxy.delay_s = fault, every, 0.02
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here, 5000)
    here.set_current_snapshot(artifact_id)
    assert there.current_snapshot() == artifact_id
    assert open_artifact(there.fetch("snapshots", artifact_id), "snapshots", verify=True).id == artifact_id
    assert there.get_part(here.put_part(b"x" * 50_000)) == b"x" * 50_000
    there.delete("snapshots", artifact_id)
    assert list(here.entries("snapshots")) == []


@pytest.mark.parametrize("fault", ["error", "away", "cut"])
def test_a_bucket_that_stays_away_is_one_sentence(
    new_host: NewHost, objects_proxy: ObjectProxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """It has no secret, and what the host has can be read; a damaged answer quarantines nothing."""
    monkeypatch.setattr("reckoner.shared.store.bucket.RETRY_S", 0)
    here, there = new_host("a"), new_host("b")
    artifact_id = publish(here, 1000)
    objects_proxy.fault = fault
    for work in (there.current_snapshot, lambda: there.fetch("snapshots", artifact_id), lambda: publish(there, 7)):
        with pytest.raises(StoreError, match="the bucket does not answer") as caught:
            work()
        assert not isinstance(caught.value, ArtifactDamagedError)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert open_artifact(here.fetch("snapshots", artifact_id), "snapshots", verify=True).id == artifact_id
    objects_proxy.fault = ""
    assert list(there.quarantined()) == []
    assert there.fetch("snapshots", artifact_id).exists()


def test_the_cache_is_bounded(new_host: NewHost, tmp_path: Path) -> None:
    """What was used longest ago goes first, what is in use stays, and what goes is fetched again."""
    here, there = new_host("a"), new_host("b")
    # Each is 0.4 MB of at most 1.
    names = [publish(here, 50_000 + number) for number in range(4)]
    old, older, used = (there.fetch("snapshots", name) for name in names[:3])
    assert old.exists()
    for directory, age_s in ((old, 7_200), (older, 10_800), (used, 14_400)):
        os.utime(directory / MANIFEST_NAME, (time.time() - age_s,) * 2)
        for path in directory.iterdir():
            os.utime(path, (time.time() - age_s,) * 2)
    there.fingerprint("snapshots", names[2])
    there.fetch("snapshots", names[3])
    assert (old.exists(), older.exists(), used.exists()) == (False, False, True)
    assert there.fingerprint("snapshots", names[0]) == NOT_FETCHED
    assert open_artifact(there.fetch("snapshots", names[0]), "snapshots", verify=True).id == names[0]
