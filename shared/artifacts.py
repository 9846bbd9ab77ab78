"""Artifacts: immutable directories of `.npy` arrays and one manifest, opened through a memory map."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError

FORMAT_VERSION = 1
ID_LENGTH = 16
MANIFEST_NAME = "manifest.json"

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
# Names become file names, so they are kept to what no file system can misread.
ArrayName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$")]


class ArrayFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the manifest says of the file `{name}.npy`; `size` is that of the file, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The contents of `manifest.json`; without an `id` of its own the artifact is named by the manifest's hash."""

    format: int
    kind: str
    facts: dict[str, Any]
    arrays: dict[ArrayName, ArrayFile]
    id: str | None = None

    def encode(self) -> bytes:
        """The manifest as JSON; the same contents give the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An opened artifact: its id, its facts, and its arrays, read-only and shared with every process on this host."""

    id: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def reason(error: OSError) -> str:
    """Why the operating system refused, without a full stop; numpy reports a full disk without an errno."""
    return error.strerror or "only a part of it could be written, so the disk may be full"


def short_hash(data: bytes) -> str:
    """The first hexadecimal digits of the SHA-256 of `data`, which name an artifact."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_artifact(
    directory: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, JSON],
    *,
    artifact_id: str | None = None,
) -> str:
    """Write `arrays` and their manifest into the existing `directory`, and return the artifact's id.

    Without `artifact_id` the id is the hash of the manifest, and so of all contents.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    try:
        files = {name: _write_array(directory / f"{name}.npy", array) for name, array in arrays.items()}
        encoded = Manifest(FORMAT_VERSION, kind, dict(facts), files, artifact_id).encode()
        (directory / MANIFEST_NAME).write_bytes(encoded)
    except OSError as error:
        raise StoreError(f"The files of {kind} cannot be written: {reason(error)}.", directory=directory) from error
    return artifact_id or short_hash(encoded)


def _write_array(path: Path, array: NDArray[Any]) -> ArrayFile:
    np.save(path, array, allow_pickle=False)
    return ArrayFile(array.dtype.str, array.shape, path.stat().st_size, file_sha256(path))


def read_manifest(directory: Path) -> tuple[str, Manifest]:
    """The id and the manifest of the artifact in `directory`.

    Raises:
        ArtifactMissingError: there is no manifest, so nothing was published here.
        ArtifactDamagedError: the manifest cannot be read.
        StoreError: the manifest has a format that this release does not read.
    """
    try:
        encoded = (directory / MANIFEST_NAME).read_bytes()
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactMissingError(f"There is no artifact {directory.name}: it has no {MANIFEST_NAME}.") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactDamagedError(f"{MANIFEST_NAME} of artifact {directory.name} cannot be read.") from error
    if manifest.format != FORMAT_VERSION:
        raise StoreError(
            f"Artifact {directory.name} has format {manifest.format}, and this release reads format {FORMAT_VERSION}."
        )
    return manifest.id or short_hash(encoded), manifest


def open_artifact(directory: Path, kind: str, *, verify: bool = False) -> Artifact:
    """Open the artifact in `directory` through memory maps; sizes are always checked, and hashes with `verify`.

    Raises:
        ArtifactMissingError: there is no manifest, so nothing was published here.
        ArtifactDamagedError: a file is gone, or is not what the manifest says; the message names it.
        StoreError: the artifact is of another kind, or of a format that this release does not read.
    """
    artifact_id, manifest = read_manifest(directory)
    if manifest.kind != kind:
        raise StoreError(f"Artifact {directory.name} is of kind {manifest.kind}, not {kind}.")
    arrays = {name: _open_array(directory, name, file, verify) for name, file in manifest.arrays.items()}
    return Artifact(artifact_id, manifest.facts, arrays)


def _open_array(directory: Path, name: str, expected: ArrayFile, verify: bool) -> NDArray[Any]:
    path = directory / f"{name}.npy"
    try:
        if path.stat().st_size != expected.size:
            raise _damaged(path, f"has {path.stat().st_size} bytes instead of {expected.size}")
        if verify and file_sha256(path) != expected.sha256:
            raise _damaged(path, "does not match its hash")
        # An empty array has no bytes that could be mapped.
        loaded = np.load(path, mmap_mode=None if 0 in expected.shape else "r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, "is missing" if isinstance(error, FileNotFoundError) else "cannot be read") from error
    if (loaded.dtype.str, loaded.shape) != (expected.dtype, expected.shape):
        raise _damaged(path, "does not hold the array that the manifest names")
    # A plain view of the map: numpy's memmap class makes every slice dearer and numba does not know it.
    array = np.asarray(loaded)
    array.flags.writeable = False
    return array


def _damaged(path: Path, what: str) -> ArtifactDamagedError:
    return ArtifactDamagedError(f"{path.name} of artifact {path.parent.name} {what}.", path=path)
