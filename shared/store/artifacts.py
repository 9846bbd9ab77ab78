"""Artifacts: immutable directories of `.npy` arrays and a manifest, opened by memory maps."""

import hashlib
import io
import mmap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, StoreError
from reckoner.shared.store.manifests import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    ArrayFile,
    Manifest,
    file_sha256,
    open_error,
    read_manifest,
    reason,
    short_hash,
)

# Arrays that are written and hashed at a time.
THREADS = 2

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An open artifact: its id, facts, and read-only arrays, whose pages all processes of this host share."""

    id: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def array(self, name: str, dtype: type[np.generic], size: int | None = None) -> NDArray[Any]:
        """Return a one-dimensional array of this type and size.

        Raises:
            ArtifactDamagedError: the artifact has no such array.
        """
        found = self.arrays.get(name)
        if found is None:
            raise self.damage(name, "is not in the manifest")
        if found.dtype != dtype or found.ndim != 1:
            raise self.damage(name, f"is not a one-dimensional array of {np.dtype(dtype).name}")
        if size is not None and found.size != size:
            raise self.damage(name, f"has {found.size} elements instead of {size}")
        return found

    def damage(self, name: str, what: str) -> ArtifactDamagedError:
        """Make the error for an array's file."""
        return ArtifactDamagedError(f"{name}.npy of artifact {self.id} {what}.")

    def fact_damage(self, what: str) -> ArtifactDamagedError:
        """Make the error for the manifest."""
        return ArtifactDamagedError(f"{MANIFEST_NAME} of artifact {self.id} {what}.")


def write_artifact(
    directory: Path,
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    facts: Mapping[str, JSON],
    *,
    artifact_id: str | None = None,
) -> str:
    """Write `arrays` and their manifest into the existing `directory`, and return the artifact's id.

    The default `artifact_id` is the hash of the manifest, and so of all contents.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    try:
        # A fit's other workers have nothing to do meanwhile.
        with ThreadPoolExecutor(THREADS) as threads:
            paths = [directory / f"{name}.npy" for name in arrays]
            files = dict(zip(arrays, threads.map(_write_array, paths, arrays.values()), strict=True))
        encoded = Manifest(FORMAT_VERSION, kind, dict(facts), files, artifact_id).encode()
        (directory / MANIFEST_NAME).write_bytes(encoded)
    except OSError as error:
        raise StoreError(f"The files of {kind} cannot be written: {reason(error)}.", directory=directory) from error
    return artifact_id or short_hash(encoded)


def _write_array(path: Path, array: NDArray[Any]) -> ArrayFile:
    with path.open("wb", buffering=0) as file:
        hashed = _HashedFile(file)
        np.lib.format.write_array(hashed, array, allow_pickle=False)
    return ArrayFile(array.dtype.str, array.shape, hashed.size, hashed.sha256.hexdigest())


class _HashedFile:
    """Hashes what is written, so that no file is read again."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        self.sha256.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while len(rest) > 0:
            rest = rest[self._file.write(rest) :]


def open_artifact(directory: Path, kind: str, *, verify: bool = False) -> Artifact:
    """Open the artifact in `directory` by memory maps; sizes are always checked, hashes with `verify`.

    Raises:
        ArtifactMissingError: there is no manifest, so nothing was published here.
        ArtifactDamagedError: a file is missing or does not match the manifest, or the manifest has another kind or
            format; the message names the file.
        StoreError: a file is temporarily unreadable.
    """
    artifact_id, manifest = read_manifest(directory)
    if manifest.kind != kind:
        raise ArtifactDamagedError(
            f"{MANIFEST_NAME} of artifact {directory.name} is of kind {manifest.kind}, not {kind}."
        )
    arrays = {name: _open_array(directory, name, file, verify) for name, file in manifest.arrays.items()}
    return Artifact(artifact_id, manifest.facts, arrays)


def _open_array(directory: Path, name: str, expected: ArrayFile, verify: bool) -> NDArray[Any]:
    path = directory / f"{name}.npy"
    try:
        if path.stat().st_size != expected.size:
            raise _damaged(path, f"has {path.stat().st_size} bytes instead of {expected.size}")
        if verify and file_sha256(path) != expected.sha256:
            raise _damaged(path, "does not match its hash")
        loaded = _read_empty(path) if 0 in expected.shape else np.lib.format.open_memmap(path, mode="r")
    except ArtifactDamagedError:
        raise
    except OSError as error:
        raise open_error(path, error) from error
    except Exception as error:
        # A hostile header makes numpy's parser fail in many ways.
        raise _damaged(path, "cannot be read") from error
    if (loaded.dtype.str, loaded.shape) != (expected.dtype, expected.shape):
        raise _damaged(path, "does not hold the array of the manifest")
    # A plain view: slices of numpy's memmap are slow, and numba does not support it.
    array = np.asarray(loaded)
    array.flags.writeable = False
    return array


def _read_empty(path: Path) -> NDArray[Any]:
    """Read an empty array, which cannot be mapped."""
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _damaged(path: Path, what: str) -> ArtifactDamagedError:
    return ArtifactDamagedError(f"{path.name} of artifact {path.parent.name} {what}.", path=path)


def unmap_pages(*arrays: NDArray[Any]) -> None:
    """Unmap the pages of an open artifact's arrays, which stay valid: the next access maps a page again."""
    for array in arrays:
        # The array of an open file is a view of numpy's map of it; an empty one is read.
        mapped: Any = getattr(array.base, "base", None)
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_DONTNEED)
