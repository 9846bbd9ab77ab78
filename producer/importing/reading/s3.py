"""Downloads objects from S3; credentials and region come from the environment, as AWS's own tools name them."""

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from reckoner.producer.importing.reading.keeping import CHUNK_BYTES, keep
from reckoner.producer.importing.reading.parts import is_part
from reckoner.shared.errors import MissingExtraError, SourceAwayError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from obstore import ObjectMeta
    from obstore.store import S3Store

SCHEME = "s3://"
SIGNS = "*?["


def is_object(name: str) -> bool:
    """Whether a source names objects of S3."""
    return name.startswith(SCHEME)


def download(url: str, room: Path, alive: Callable[[], None]) -> list[Path]:
    """The object `s3://bucket/key`, all below `s3://bucket/folder/`, or all that match a pattern, as files in `room`.

    Raises:
        UsageError: the URL lacks a bucket or a key.
        MissingExtraError: obstore is not installed.
        SourceError: there is no such object, or it may not be read.
        SourceAwayError: S3 does not answer.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not bucket or not key or "@" in bucket:
        raise UsageError("Write an object as s3://bucket/key. Credentials come from the environment.")
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Importing from S3 needs {error.name}, which is not installed: pip install 'ready-reckoner[s3]'."
        ) from error
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    # Named endpoints may be servers of one's own, without TLS.
    allow_http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    try:
        store = S3Store(bucket, client_options={"allow_http": allow_http})
        return _download_all(store, key, room, alive)
    except FileNotFoundError as error:
        raise SourceError(f"There is no object {url}.") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise SourceError(f"S3 denies the access to {url}. Credentials come from the environment.") from error
    except ValueError as error:
        raise UsageError(f"{url} cannot be the name of an object.") from error
    except BaseError as error:
        # Its words may have parts of a signed request.
        raise SourceAwayError(f"S3 does not answer for {url}.") from error


def _download_all(store: "S3Store", key: str, room: Path, alive: Callable[[], None]) -> list[Path]:
    import obstore

    def kept(each: str, name: str) -> Path:
        return keep(room / name, obstore.get(store, each).stream(min_chunk_size=CHUNK_BYTES), alive)

    if not _is_several(key):
        return [kept(key, PurePosixPath(key).name)]
    folder = _fixed(key)
    keys = _matching(obstore.list(store, prefix=folder or None), key, folder)
    if not keys:
        raise FileNotFoundError
    return [kept(each, each[len(folder) :]) for each in keys]


def _is_several(key: str) -> bool:
    return key.endswith("/") or any(sign in key for sign in SIGNS)


def _fixed(key: str) -> str:
    """The folder before the first sign of a pattern."""
    end = next((place for place, sign in enumerate(key) if sign in SIGNS), len(key))
    return key[: key.rfind("/", 0, end) + 1]


def _matching(batches: "Iterable[Sequence[ObjectMeta]]", key: str, folder: str) -> list[str]:
    found = [each["path"] for batch in batches for each in batch if each["size"] and _is_match(each["path"], key)]
    return sorted(path for path in found if all(map(is_part, PurePosixPath(path[len(folder) :]).parts)))


def _is_match(path: str, key: str) -> bool:
    """Whether an object is below a folder, or its names match a pattern's, folder by folder as in a file system."""
    if key.endswith("/"):
        return path.startswith(key) or fnmatchcase(path, key + "*")
    names, patterns = path.split("/"), key.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))
