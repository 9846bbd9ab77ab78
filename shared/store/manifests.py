"""Manifests: what says of an artifact's files that they are whole, and names the artifact; read without numpy."""

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

# Names become file names, so they are kept to what no file system can misread.
ArrayName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]


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


def reason(error: OSError) -> str:
    """Why the operating system refused, without a full stop; numpy reports a full disk without an errno."""
    return error.strerror or "only a part of it could be written, so the disk may be full"


def short_hash(data: bytes) -> str:
    """The first hexadecimal digits of the SHA-256 of `data`, which name an artifact."""
    return hashlib.sha256(data).hexdigest()[:ID_LENGTH]


def file_sha256(path: Path, tell: Callable[[int], None] | None = None) -> str:
    """The SHA-256 of a file's bytes in hexadecimal digits; `tell` hears how many were read, time and again."""
    digest, some = hashlib.sha256(), bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(some):
            digest.update(memoryview(some)[:size])
            if tell is not None:
                tell(size)
    return digest.hexdigest()


def open_error(path: Path, error: OSError) -> StoreError:
    """What an error means that a file of an artifact gave when it was opened or read.

    A file that is gone is damage, and any other trouble is the store's: the file may be whole.
    """
    what = f"{path.name} of artifact {path.parent.name}"
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return ArtifactDamagedError(f"{what} is missing.", path=path)
    return StoreError(f"{what} cannot be read: {reason(error)}.", path=path)


def read_manifest(directory: Path) -> tuple[str, Manifest]:
    """The id and the manifest of the artifact in `directory`.

    Raises:
        ArtifactMissingError: there is no manifest, so nothing was published here.
        ArtifactDamagedError: the manifest is none, or has a format that this release does not read.
        StoreError: the file cannot be read for now.
    """
    try:
        encoded = (directory / MANIFEST_NAME).read_bytes()
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactMissingError(f"There is no artifact {directory.name}: it has no {MANIFEST_NAME}.") from error
    except OSError as error:
        raise open_error(directory / MANIFEST_NAME, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactDamagedError(f"{MANIFEST_NAME} of artifact {directory.name} cannot be read.") from error
    if manifest.format != FORMAT_VERSION:
        raise ForeignFormatError(
            f"{MANIFEST_NAME} of artifact {directory.name} has format {manifest.format}, and this release reads format "
            f"{FORMAT_VERSION}: it was made by another release, or is damaged."
        )
    return manifest.id or short_hash(encoded), manifest
