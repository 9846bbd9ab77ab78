"""Manifests: the hashes of an artifact's files, and its id; read without numpy."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, ForeignFormatError, StoreError

FORMAT_VERSION = 1
ID_LENGTH = 16
MANIFEST_NAME = "manifest.json"
READ_BYTES = 1 << 20

# Names become file names on any file system.
ArrayName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]


class ArrayFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entry of the file `{name}.npy`; `size` is in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The contents of `manifest.json`; the default `id` is the manifest's hash."""

    format: int
    kind: str
    facts: dict[str, Any]
    arrays: dict[ArrayName, ArrayFile]
    id: str | None = None

    def encode(self) -> bytes:
        """The manifest as JSON; the same contents give the same bytes."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"


def reason(error: OSError) -> str:
    """The reason of an OSError, without a full stop; numpy reports a full disk without an errno."""
    return error.strerror or "the write was incomplete, the disk may be full"


def short_hash(data: bytes) -> str:
    """The first hexadecimal digits of the SHA-256 of `data`, which name an artifact."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def file_sha256(path: Path, on_progress: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of a file in hexadecimal digits; `on_progress` gets the number of bytes of each read."""
    digest, some = hashlib.sha256(), bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(some):
            digest.update(memoryview(some)[:size])
            if on_progress is not None:
                on_progress(size)
    return digest.hexdigest()


def open_error(path: Path, error: OSError) -> StoreError:
    """Convert an OSError of an artifact's file: a missing file is damage, other errors may be temporary."""
    what = f"{path.name} of artifact {path.parent.name}"
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return ArtifactDamagedError(f"{what} is missing.", path=path)
    return StoreError(f"{what} cannot be read: {reason(error)}.", path=path)


def read_manifest(directory: Path) -> tuple[str, Manifest]:
    """Read the id and the manifest of the artifact in `directory`.

    Raises:
        ArtifactMissingError: there is no manifest, so nothing was published here.
        ArtifactDamagedError: the manifest is invalid, or has an unsupported format.
        StoreError: the file is temporarily unreadable.
    """
    try:
        encoded = (directory / MANIFEST_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactMissingError(f"There is no artifact {directory.name}: its {MANIFEST_NAME} is missing.") from error
    except OSError as error:
        raise open_error(directory / MANIFEST_NAME, error) from error
    return decode_manifest(encoded, directory.name)


def decode_manifest(encoded: bytes, name: str) -> tuple[str, Manifest]:
    """Decode the id and the manifest of the artifact of this name.

    Raises:
        ArtifactDamagedError: the manifest is invalid, or has an unsupported format.
    """
    try:
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactDamagedError(f"{MANIFEST_NAME} of artifact {name} cannot be read.") from error
    if manifest.format != FORMAT_VERSION:
        raise ForeignFormatError(
            f"{MANIFEST_NAME} of artifact {name} has format {manifest.format}, but this release reads format "
            f"{FORMAT_VERSION}: it is from another release, or damaged."
        )
    return manifest.id or short_hash(encoded), manifest
