"""Artifacts are the same bytes for the same contents, and damage never passes unseen."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError
from reckoner.shared.store.artifacts import open_artifact, unmap_pages, write_artifact
from reckoner.shared.store.manifests import MANIFEST_NAME

ARRAYS: dict[str, NDArray[Any]] = {"numbers": np.arange(1000, dtype=np.int64), "empty": np.zeros(0, dtype=np.float32)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "an artifact ü"
    made.mkdir()
    write_artifact(made, "snapshots", ARRAYS, {"users": 3, "name": "ü"})
    return made


def test_what_was_written_is_read_back(directory: Path) -> None:
    """Arrays, also empty ones, and facts come back as they were, and the id is that of the writer."""
    artifact = open_artifact(directory, "snapshots", verify=True)
    assert artifact.facts == {"users": 3, "name": "ü"}
    assert artifact.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert artifact.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(artifact.arrays[name], array)


def test_the_same_contents_give_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    """The order in which arrays and facts are named does not matter to the id or to the manifest."""
    again = tmp_path / "again"
    again.mkdir()
    artifact_id = write_artifact(again, "snapshots", dict(reversed(ARRAYS.items())), {"name": "ü", "users": 3})
    assert artifact_id == open_artifact(directory, "snapshots").id
    assert (again / MANIFEST_NAME).read_bytes() == (directory / MANIFEST_NAME).read_bytes()


def test_other_contents_give_another_id(directory: Path, tmp_path: Path) -> None:
    """One number that differs changes the id."""
    other = tmp_path / "other"
    other.mkdir()
    numbers = ARRAYS["numbers"].copy()
    numbers[500] += 1
    artifact_id = write_artifact(other, "snapshots", ARRAYS | {"numbers": numbers}, {"users": 3, "name": "ü"})
    assert artifact_id != open_artifact(directory, "snapshots").id


def test_a_given_id_is_kept(tmp_path: Path) -> None:
    """A model is named by what it was made of, and its manifest says so."""
    assert write_artifact(tmp_path, "models", ARRAYS, {}, artifact_id="abc") == "abc"
    assert open_artifact(tmp_path, "models").id == "abc"


def test_arrays_cannot_be_written(directory: Path) -> None:
    """Arrays are views of a read-only memory map, and empty ones are read-only too."""
    arrays = open_artifact(directory, "snapshots").arrays
    assert not any(array.flags.writeable for array in arrays.values())
    assert not arrays["numbers"].flags.owndata


def test_a_missing_manifest_is_a_missing_artifact(tmp_path: Path) -> None:
    """A directory without a manifest, and one that is not there, hold no artifact."""
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactMissingError, match=place.name):
            open_artifact(place, "snapshots")


@pytest.mark.parametrize("contents", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b"\x80\x04cos\nsystem\n."])
def test_a_damaged_manifest_is_named(directory: Path, contents: bytes) -> None:
    """A manifest that is no manifest is damage, and the sentence names the artifact."""
    (directory / MANIFEST_NAME).write_bytes(contents)
    with pytest.raises(ArtifactDamagedError, match=r"manifest\.json of artifact an artifact ü cannot be read"):
        open_artifact(directory, "snapshots")


def test_a_manifest_cannot_lead_out_of_its_directory(directory: Path) -> None:
    """An array whose name is a path is refused."""
    manifest = directory / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"numbers"', '"../numbers"'))
    with pytest.raises(ArtifactDamagedError):
        open_artifact(directory, "snapshots")


def test_an_unknown_format_is_refused(directory: Path) -> None:
    """The format of a later release is named, not misread."""
    manifest = directory / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(StoreError, match="has format 2, but this release reads format 1"):
        open_artifact(directory, "snapshots")


def test_another_kind_is_refused(directory: Path) -> None:
    """A snapshot is not opened as a model."""
    with pytest.raises(StoreError, match="is of kind snapshots, not models"):
        open_artifact(directory, "models")


def test_a_file_that_is_gone_is_named(directory: Path) -> None:
    """The sentence names the file and the artifact."""
    (directory / "numbers.npy").unlink()
    with pytest.raises(ArtifactDamagedError, match=r"numbers\.npy of artifact an artifact ü is missing"):
        open_artifact(directory, "snapshots")


def test_a_short_file_is_always_seen(directory: Path) -> None:
    """Sizes are checked without asking for it."""
    os.truncate(directory / "numbers.npy", 4000)
    with pytest.raises(ArtifactDamagedError, match=r"numbers\.npy of artifact an artifact ü has 4000 bytes"):
        open_artifact(directory, "snapshots")


def test_verification_detects_a_flipped_bit(directory: Path) -> None:
    """Hashes are checked with `verify`."""
    path = directory / "numbers.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    open_artifact(directory, "snapshots")
    with pytest.raises(ArtifactDamagedError, match=r"numbers\.npy of artifact an artifact ü does not match its hash"):
        open_artifact(directory, "snapshots", verify=True)


def test_a_changed_header_is_detected(directory: Path) -> None:
    """Another element type in a file of the same size is damage, and a header that is none is too."""
    path = directory / "numbers.npy"
    data = path.read_bytes()
    for changed in (data.replace(b"<i8", b"<u8"), b"\x80PICKLE" + data[7:]):
        path.write_bytes(changed)
        with pytest.raises(ArtifactDamagedError, match=r"numbers\.npy"):
            open_artifact(directory, "snapshots")


def test_a_pickle_is_never_loaded(directory: Path) -> None:
    """An array of objects would be a pickle: it is neither written nor read."""
    with pytest.raises(ValueError, match="allow_pickle"):
        write_artifact(directory, "snapshots", {"numbers": np.array([object()])}, {})


def test_unmapped_pages_are_mapped_again_when_they_are_read(tmp_path: Path) -> None:
    """The arrays stay valid; an empty one has no pages."""
    arrays = {"long": np.arange(100_000), "none": np.empty(0, np.int64)}
    write_artifact(tmp_path, "models", arrays, {})
    opened = open_artifact(tmp_path, "models").arrays

    def mapped_kb() -> int:
        lines = Path("/proc/self/smaps").read_text("utf-8").splitlines()
        [at] = [number for number, line in enumerate(lines) if line.endswith(f"{tmp_path}/long.npy")]
        return next(int(line.split()[1]) for line in lines[at:] if line.startswith("Rss:"))

    total = opened["long"].sum()
    assert mapped_kb() > 700
    unmap_pages(*opened.values())
    assert mapped_kb() == 0
    assert opened["long"].sum() == total
