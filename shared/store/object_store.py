"""The artifact store in a bucket, which hosts share that share no directory.

An artifact is the objects `KIND/ID/SHA256.npy`, named by the hashes of their bytes, and `KIND/ID/manifest.json`, which
is created last. A host fetches it once, into a directory store below its home: readers get its files from there, as
memory maps.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, ForeignFormatError, StoreError
from reckoner.shared.store.bucket import CHUNK_BYTES, Bucket
from reckoner.shared.store.cache import Cache, download
from reckoner.shared.store.directory import (
    CURRENT_SNAPSHOT_NAME,
    DAMAGED_NAME,
    DAMAGED_TTL_S,
    HISTORY_NAME,
    SINGULAR,
    WHY_NAME,
    require_entry_id,
)
from reckoner.shared.store.manifests import MANIFEST_NAME, ArrayFile, Manifest, decode_manifest, read_manifest
from reckoner.shared.store.protocol import (
    MOST_HISTORY,
    NOT_FETCHED,
    QUARANTINED,
    ArtifactKind,
    EntryKind,
    StoreEntry,
)

# Requests of one download at a time.
READ_AHEAD: Final = 3


class ObjectStore:
    """A store in a bucket; see `Store`. Only `fetch` and `scratch` use the cache of this host."""

    def __init__(self, bucket: Bucket, cache: Cache) -> None:
        self._bucket, self._cache = bucket, cache
        bucket.check()

    def check_available(self) -> None:
        """See `Store.check_available`."""
        self._bucket.find(CURRENT_SNAPSHOT_NAME)
        self._cache.files.check_available()

    def publish(self, kind: ArtifactKind, artifact_id: str, directory: Path) -> None:
        """See `Store.publish`."""
        found, manifest = read_manifest(directory)
        if found != artifact_id:
            raise StoreError(f"The {SINGULAR[kind]} to publish is {found}, not {artifact_id}.")
        encoded = (directory / MANIFEST_NAME).read_bytes()
        present = self._bucket.get(_manifest(kind, artifact_id))
        if present is not None and present != encoded:
            # Damaged contents are replaced, intact ones are not.
            if self.quarantine(kind, artifact_id, NOT_FETCHED, "") is None:
                raise self._taken(kind, artifact_id)
            present = None
        if present is not None:
            # Renew the age first, against deletion.
            self._bucket.put(_manifest(kind, artifact_id), encoded)
        # Without a manifest, an object may be what is left of a damaged artifact.
        sizes = self._sizes(kind, artifact_id) if present is not None else {}
        for name, file in manifest.arrays.items():
            if sizes.get(_array(kind, artifact_id, file)) != file.size:
                self._bucket.put(_array(kind, artifact_id, file), directory / f"{name}.npy")
        created = present is not None or self._bucket.create(_manifest(kind, artifact_id), encoded)
        if not created and self._bucket.get(_manifest(kind, artifact_id)) != encoded:
            raise self._taken(kind, artifact_id)
        try:
            self._cache.adopt(kind, artifact_id, directory, encoded)
        except StoreError:
            # It is fetched when it is needed.
            self._cache.files.delete(kind, artifact_id)

    def fetch(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """See `Store.fetch`."""
        require_entry_id(kind, artifact_id)
        if not self._cache.holds(kind, artifact_id):
            with self._cache.filling(kind, artifact_id) as room:
                # Another process may have filled it while this one waited.
                if not self._cache.holds(kind, artifact_id):
                    self._download(kind, artifact_id, room)
        return self._cache.files.fetch(kind, artifact_id)

    def _download(self, kind: ArtifactKind, artifact_id: str, room: Path) -> None:
        """Bring an artifact into the cache; what `room` has of it is not fetched again."""
        encoded = self._published(kind, artifact_id)
        try:
            manifest = _decode(kind, artifact_id, encoded)
            sizes = self._sizes(kind, artifact_id)
            self._cache.make_space(sum(file.size for file in manifest.arrays.values()))
            for name, file in manifest.arrays.items():
                whole = sizes.get(_array(kind, artifact_id, file)) == file.size
                if not whole or not download(self._chunks(kind, artifact_id, file), room / f"{name}.npy", file):
                    raise _damaged(kind, artifact_id, name)
        except ForeignFormatError:
            raise
        except ArtifactDamagedError as damage:
            if self.quarantine(kind, artifact_id, NOT_FETCHED, str(damage)) is None:
                raise StoreError(f"The {SINGULAR[kind]} {artifact_id} was damaged on its way from the store.") from None
            raise
        self._cache.adopt(kind, artifact_id, room, encoded)

    def _chunks(self, kind: ArtifactKind, artifact_id: str, file: ArrayFile) -> Callable[[int], Iterator[bytes]]:
        """Read the object of an array from an offset on; it ends early where the object does."""
        key = _array(kind, artifact_id, file)

        def read(offset: int) -> Iterator[bytes]:
            starts = range(offset, file.size, CHUNK_BYTES)
            with ThreadPoolExecutor(READ_AHEAD) as threads:
                coming = deque[Future[bytes | None]]()
                for start in (*starts, *[None] * READ_AHEAD):
                    if start is not None:
                        end = min(start + CHUNK_BYTES, file.size)
                        coming.append(threads.submit(self._bucket.get_range, key, start, end))
                    if coming and (start is None or len(coming) > READ_AHEAD):
                        yield coming.popleft().result() or b""

        return read

    def manifest(self, kind: ArtifactKind, artifact_id: str) -> Manifest:
        """See `Store.manifest`."""
        require_entry_id(kind, artifact_id)
        if self._cache.holds(kind, artifact_id):
            return self._cache.files.manifest(kind, artifact_id)
        return _decode(kind, artifact_id, self._published(kind, artifact_id))

    def verify(self, kind: ArtifactKind, artifact_id: str, on_progress: Callable[[int], None] | None = None) -> None:
        """See `Store.verify`; it reads the objects, not the files of this host."""
        require_entry_id(kind, artifact_id)
        manifest = _decode(kind, artifact_id, self._published(kind, artifact_id))
        sizes = self._sizes(kind, artifact_id)
        for name, file in manifest.arrays.items():
            if sizes.get(_array(kind, artifact_id, file)) != file.size:
                raise _damaged(kind, artifact_id, name)
            digest = hashlib.sha256()
            for data in self._chunks(kind, artifact_id, file)(0):
                digest.update(data)
                if on_progress is not None:
                    on_progress(len(data))
            if digest.hexdigest() != file.sha256:
                raise _damaged(kind, artifact_id, name)

    def fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        """See `Store.fingerprint`; it is that of the files of this host."""
        found = self._cache.fingerprint(kind, artifact_id)
        if found:
            return found
        if self._bucket.find(_manifest(kind, artifact_id)) is not None:
            return NOT_FETCHED
        return QUARANTINED if self._why(kind, artifact_id) is not None else ""

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> Path | None:
        """See `Store.quarantine`. Damaged files of this host go, and the objects too if they are damaged."""
        moved_to = None
        if fingerprint not in (NOT_FETCHED, QUARANTINED, ""):
            moved_to = self._cache.files.quarantine(kind, artifact_id, fingerprint, why)
        try:
            self.verify(kind, artifact_id)
        except (ArtifactMissingError, ForeignFormatError):
            return moved_to
        except ArtifactDamagedError as damage:
            if self._bucket.find(_manifest(kind, artifact_id)) is not None:
                self._set_aside(kind, artifact_id, str(damage))
            return self.quarantine_path(kind, artifact_id)
        return moved_to

    def _set_aside(self, kind: ArtifactKind, artifact_id: str, why: str) -> None:
        """Quarantine the objects of an artifact: without its manifest nobody opens it, and it can be created again."""
        encoded = self._bucket.get(_manifest(kind, artifact_id)) or b""
        self._bucket.put(_aside(kind, artifact_id, MANIFEST_NAME), encoded)
        self._bucket.put(_aside(kind, artifact_id, WHY_NAME), why.rstrip(".").encode())
        self._bucket.delete([_manifest(kind, artifact_id)])

    def quarantined(self) -> Iterator[tuple[str, str]]:
        """See `Store.quarantined`."""
        for name in self._all_aside():
            yield name, (self._bucket.get(f"{DAMAGED_NAME}/{name}/{WHY_NAME}") or b"").decode("utf-8", "replace")

    def unreplaced(self, kind: ArtifactKind) -> dict[str, int]:
        """See `Store.unreplaced`."""
        start = f"{SINGULAR[kind]}-"
        of_kind = (
            (name.removeprefix(start), when) for name, when in self._all_aside().items() if name.startswith(start)
        )
        return {name: when for name, when in of_kind if self._bucket.find(_manifest(kind, name)) is None}

    def _all_aside(self) -> dict[str, int]:
        """The names of the quarantined artifacts, and when they were quarantined; old ones are deleted."""
        whys = [found for found in self._bucket.list(DAMAGED_NAME) if found.key.endswith(f"/{WHY_NAME}")]
        for found in [found for found in whys if time.time() - found.written_s > DAMAGED_TTL_S]:
            # This host's clock may be wrong.
            if self._bucket.now_s() - found.written_s > DAMAGED_TTL_S:
                whys.remove(found)
                self._bucket.delete([found.key, f"{found.key.rpartition('/')[0]}/{MANIFEST_NAME}"])
        return {found.key.split("/")[1]: int(found.written_s) for found in whys}

    def quarantine_path(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """See `Store.quarantine_path`; of a quarantined artifact in a bucket there is only its manifest."""
        require_entry_id(kind, artifact_id)
        encoded = self._bucket.get(_aside(kind, artifact_id, MANIFEST_NAME))
        return self._cache.keep_manifest(f"{SINGULAR[kind]}-{artifact_id}", encoded)

    def put_part(self, data: bytes) -> str:
        """See `Store.put_part`."""
        name = hashlib.sha256(data).hexdigest()
        # The name is the hash of the bytes, so a damaged part can be replaced.
        self._bucket.put(f"parts/{name}", data)
        return name

    def get_part(self, name: str) -> bytes:
        """See `Store.get_part`."""
        require_entry_id("parts", name)
        data = self._bucket.get(f"parts/{name}")
        if data is None:
            raise ArtifactMissingError(f"The store {self._bucket.url} holds no part {name}.")
        if hashlib.sha256(data).hexdigest() != name:
            raise ArtifactDamagedError(f"Part {name} of the store {self._bucket.url} does not match its hash.")
        return data

    def current_snapshot(self) -> str | None:
        """See `Store.current_snapshot`."""
        data = self._bucket.get(CURRENT_SNAPSHOT_NAME)
        try:
            return (data or b"").decode("ascii").strip() or None
        except UnicodeDecodeError as error:
            raise StoreError(f"The current snapshot of the store {self._bucket.url} cannot be read.") from error

    def set_current_snapshot(self, snapshot_id: str) -> None:
        """See `Store.set_current_snapshot`."""
        require_entry_id("snapshots", snapshot_id)
        self._published("snapshots", snapshot_id)
        self._bucket.put(CURRENT_SNAPSHOT_NAME, snapshot_id.encode() + b"\n")

    def mark(self, name: str) -> bytes | None:
        """See `Store.mark`."""
        return self._bucket.get(name)

    def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Store.set_mark`."""
        if replace:
            self._bucket.put(name, data)
        else:
            self._bucket.create(name, data)
        return self.mark(name) or b""

    def remove_mark(self, name: str) -> None:
        """See `Store.remove_mark`."""
        self._bucket.delete([name])

    def keep_history(self, name: str, data: bytes) -> None:
        """See `Store.keep_history`."""
        self._bucket.put(f"{HISTORY_NAME}/{name}.json", data)
        self._bucket.delete([found.key for found in self._bucket.list(HISTORY_NAME)[:-MOST_HISTORY]])

    def entries(self, kind: EntryKind) -> Iterator[StoreEntry]:
        """See `Store.entries`."""
        now_s, newest = self._bucket.now_s(), dict[str, float]()
        for found in self._bucket.list(kind):
            name = found.key.split("/")[1]
            newest[name] = max(newest.get(name, 0.0), found.written_s)
        for name, written_s in sorted(newest.items()):
            yield StoreEntry(name, max(0.0, now_s - written_s))

    def renew(self, kind: ArtifactKind, artifact_id: str) -> None:
        """See `Store.renew`."""
        require_entry_id(kind, artifact_id)
        self._bucket.put(_manifest(kind, artifact_id), self._published(kind, artifact_id))

    def delete(self, kind: EntryKind, entry_id: str, *, idle_s: float = 0.0) -> None:
        """See `Store.delete`."""
        require_entry_id(kind, entry_id)
        if kind == "parts":
            part = self._bucket.find(f"parts/{entry_id}")
            objects = [] if part is None else [part]
        else:
            objects = self._bucket.list(f"{kind}/{entry_id}")
        if idle_s and objects and self._bucket.now_s() - max(found.written_s for found in objects) < idle_s:
            return
        # The manifest first, so that nobody opens a part of it.
        self._bucket.delete(sorted((found.key for found in objects), key=lambda key: not key.endswith(MANIFEST_NAME)))
        if kind != "parts":
            self._cache.files.delete(kind, entry_id)

    def scratch(self) -> AbstractContextManager[Path]:
        """See `Store.scratch`."""
        return self._cache.files.scratch()

    def _published(self, kind: ArtifactKind, artifact_id: str) -> bytes:
        """The bytes of a manifest.

        Raises:
            ArtifactMissingError: there is none.
            ArtifactDamagedError: the artifact was quarantined.
        """
        encoded = self._bucket.get(_manifest(kind, artifact_id))
        if encoded is not None:
            return encoded
        why = self._why(kind, artifact_id)
        if why is not None:
            raise ArtifactDamagedError(f"The {SINGULAR[kind]} {artifact_id} was quarantined as damaged: {why}.")
        raise ArtifactMissingError(
            f"The store {self._bucket.url} holds no {SINGULAR[kind]} {artifact_id}.", artifact=artifact_id
        )

    def _why(self, kind: ArtifactKind, artifact_id: str) -> str | None:
        """Why an artifact was quarantined, None if it was not."""
        why = self._bucket.get(_aside(kind, artifact_id, WHY_NAME))
        return None if why is None else why.decode("utf-8", "replace")

    def _sizes(self, kind: ArtifactKind, artifact_id: str) -> dict[str, int]:
        return {found.key: found.size for found in self._bucket.list(f"{kind}/{artifact_id}")}

    def _taken(self, kind: ArtifactKind, artifact_id: str) -> StoreError:
        return StoreError(
            f"The {SINGULAR[kind]} {artifact_id} exists in the store {self._bucket.url} with other contents."
        )


def _manifest(kind: ArtifactKind, artifact_id: str) -> str:
    return f"{kind}/{artifact_id}/{MANIFEST_NAME}"


def _array(kind: ArtifactKind, artifact_id: str, file: ArrayFile) -> str:
    return f"{kind}/{artifact_id}/{file.sha256}.npy"


def _aside(kind: ArtifactKind, artifact_id: str, name: str) -> str:
    return f"{DAMAGED_NAME}/{SINGULAR[kind]}-{artifact_id}/{name}"


def _decode(kind: ArtifactKind, artifact_id: str, encoded: bytes) -> Manifest:
    found, manifest = decode_manifest(encoded, artifact_id)
    if found != artifact_id:
        raise ArtifactDamagedError(f"{MANIFEST_NAME} of {SINGULAR[kind]} {artifact_id} belongs to {found}.")
    return manifest


def _damaged(kind: ArtifactKind, artifact_id: str, name: str) -> ArtifactDamagedError:
    return ArtifactDamagedError(f"{name}.npy of {SINGULAR[kind]} {artifact_id} does not match its hash.")
