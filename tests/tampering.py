"""Tampered artifacts: broken files, or files with valid hashes and wrong contents."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.manifests import MANIFEST_NAME, Manifest, file_sha256, read_manifest


def rewrite(directory: Path, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Change an array and its entry in the manifest."""
    path = directory / f"{name}.npy"
    array = change(np.load(path))
    path.unlink()
    np.save(path, array)
    _, manifest = read_manifest(directory)
    was = manifest.arrays[name]
    new = msgspec.structs.replace(
        was, dtype=array.dtype.str, shape=array.shape, size=path.stat().st_size, sha256=file_sha256(path)
    )
    write_manifest(directory, msgspec.structs.replace(manifest, arrays=manifest.arrays | {name: new}))


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest."""
    (directory / MANIFEST_NAME).unlink()
    (directory / MANIFEST_NAME).write_bytes(manifest.encode())


def put(at: int, value: float) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """A change of one element."""

    def change(array: NDArray[Any]) -> NDArray[Any]:
        array[at] = value
        return array

    return change


def flip(path: Path, at: int, bit: int) -> None:
    """Flip one bit of a file in place, as a bad disk does."""
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
