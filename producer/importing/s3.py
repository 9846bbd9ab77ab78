"""Downloads objects from S3; credentials and region come from the environment, as AWS's own tools name them."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from reckoner.producer.importing.parts import is_part
from reckoner.shared.errors import MissingExtraError, SourceAwayError, SourceError, StoreError, UsageError
from reckoner.shared.store.manifests import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore

SCHEME = "s3://"
CHUNK_BYTES = 8 << 20
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
        raise UsageError("An object is named so: s3://bucket/key. Credentials come from the environment.")
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Importing from S3 needs {error.name}, which is not installed: pip install 'ready-reckoner[s3]'."
        ) from error
    return download_from(S3Store(bucket), key, url, room, alive)


def download_from(store: "ObjectStore", key: str, url: str, room: Path, alive: Callable[[], None]) -> list[Path]:
    """The objects of a store whose keys match; see `download`."""
    import obstore
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        keys = _matching(obstore.list(store, prefix=_fixed(key) or None), key) if _is_several(key) else [key]
        if not keys:
            raise SourceError(f"There is no object {url}.")
        start = len(_fixed(key)) if _is_several(key) else key.rfind("/") + 1
        return [_download(obstore.get(store, each), each[start:], room, alive) for each in keys]
    except (NotFoundError, FileNotFoundError) as error:
        raise SourceError(f"There is no object {url}.") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise SourceError(f"S3 denies the access to {url}. Credentials come from the environment.") from error
    except BaseError as error:
        # Its words may have parts of a signed request.
        raise SourceAwayError(f"S3 does not answer for {url} ({type(error).__name__}).") from error


def _is_several(key: str) -> bool:
    return key.endswith("/") or any(sign in key for sign in SIGNS)


def _fixed(key: str) -> str:
    """The folder before the first sign of a pattern."""
    end = next((place for place, sign in enumerate(key) if sign in SIGNS), len(key))
    return key[: key.rfind("/", 0, end) + 1]


def _matching(batches: "Iterable[Sequence[ObjectMeta]]", key: str) -> list[str]:
    pattern = key + "*" if key.endswith("/") else key
    found = [each["path"] for batch in batches for each in batch if each["size"] and fnmatchcase(each["path"], pattern)]
    start = len(_fixed(key))
    return sorted(path for path in found if all(map(is_part, PurePosixPath(path[start:]).parts)))


def _download(found: "GetResult", name: str, room: Path, alive: Callable[[], None]) -> Path:
    path = room / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                file.write(chunk)
                alive()
    except OSError as error:
        raise StoreError(f"{path.name} cannot be kept in {room}: {reason(error)}.") from error
    return path
