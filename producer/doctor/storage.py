"""What the doctor looks at in the artifact store; nothing is created where there is no store."""

import os
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reckoner.producer.client.answers import behind
from reckoner.producer.doctor.findings import WrongError
from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.store.location import open_store, store_directory
from reckoner.shared.store.manifests import read_manifest
from reckoner.shared.store.model_config import KERNEL_VERSION
from reckoner.shared.store.protocol import ArtifactKind, Store

# A new snapshot and a new model are written beside those that are in use; so much is to be left then.
LEAST_FREE_BYTES = 100 * 2**20
IMPORT = "import the same data again to restore it"
FIT = "`reckoner fit` builds it again"
HEALS = "the workers build it again"
WAITS = "the workers build it again when its snapshot, which is damaged too, is whole"

# Is told how many bytes of how many were read.
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Storage:
    """What is looked at on the disk: the store, its directory, and the artifacts that the pointers in Redis name."""

    store: Store
    directory: Path
    named: Sequence[tuple[ArtifactKind, str]]
    live: str | None = None
    """The snapshot of the generation that readers see, where that is known."""

    def wanted(self) -> list[tuple[ArtifactKind, str]]:
        """What has to be there: the current snapshot and what the pointers name, each once."""
        current = self.store.current_snapshot()
        own: list[tuple[ArtifactKind, str]] = [("snapshots", current)] if current else []
        return list(dict.fromkeys([*own, *self.named]))

    def size(self) -> int:
        """How many bytes those have that are there."""
        total = 0
        for kind, name in self.wanted():
            try:
                total += sum(file.stat().st_size for file in self.store.fetch(kind, name).iterdir())
            except (ArtifactMissingError, ArtifactDamagedError):
                # That has a line of its own.
                continue
        return total


def open_storage(url: str, named: Sequence[tuple[ArtifactKind, str]], live: str | None = None) -> Storage:
    """The store at `url`, written to and read as the workers do it.

    Raises:
        WrongError: there is none.
        StoreError: it cannot be used.
    """
    directory = store_directory(url)
    if not directory.exists() or (directory.is_dir() and not (directory / "snapshots").is_dir()):
        raise WrongError(f"There is no store in {directory}: mount it where there was one, or make it by an import.")
    store = open_store(url)
    part = store.put_part(os.urandom(32))
    store.get_part(part)
    store.delete("parts", part)
    return Storage(store, directory, named, live)


def space(storage: Storage) -> str:
    """There is room for a snapshot and a model more, as large as those that are there."""
    free, needed = shutil.disk_usage(storage.directory).free, LEAST_FREE_BYTES + storage.size()
    if free < needed:
        raise WrongError(
            f"{free / 2**20:,.0f} MiB are free, and what comes next may take {needed / 2**20:,.0f}: make room."
        )
    return f"{free / 2**20:,.0f} MiB are free."


def snapshot(storage: Storage) -> str:
    """There is a current snapshot."""
    current = storage.store.current_snapshot()
    if current is None:
        raise WrongError("Nothing was imported yet: do so with `reckoner import PATH`.")
    if storage.live not in (None, current):
        return f"{current} is current; {behind(storage.live)}"
    return f"{current} is current."


def artifacts(storage: Storage, tell: Tell) -> str:
    """All that is named is there, and has the bytes that it was published with."""
    wanted, total, done = storage.wanted(), storage.size(), 0
    damage = dict[tuple[ArtifactKind, str], str]()

    def read(size: int) -> None:
        nonlocal done
        done += size
        tell(done, total)

    tell(0, total)
    for kind, name in wanted:
        try:
            storage.store.verify(kind, name, read)
        except (ArtifactMissingError, ArtifactDamagedError) as error:
            damage[kind, name] = str(error).rstrip(".")
    if damage:
        broken = {name for kind, name in damage if kind == "snapshots"}
        told = (f"{why}; {_remedy(storage.store, *artifact, broken)}." for artifact, why in damage.items())
        raise WrongError(" ".join(told))
    aside = [name for name, _ in storage.store.quarantined()]
    also = f" Set aside as damaged, and not in use: {', '.join(aside)}." if aside else ""
    return f"{len(wanted):,} that are named, {done / 2**20:,.1f} MiB, are as they were published.{also}"


def _remedy(store: Store, kind: ArtifactKind, name: str, broken: Container[str]) -> str:
    """What makes a damaged artifact whole, where these snapshots are damaged."""
    if kind == "snapshots":
        return IMPORT
    try:
        found, manifest = read_manifest(store.quarantine_path(kind, name))
    except (ArtifactMissingError, ArtifactDamagedError):
        return FIT
    if (found, manifest.facts.get("kernel_version")) != (name, KERNEL_VERSION):
        return FIT
    return WAITS if str(manifest.facts.get("snapshot")) in broken else HEALS


STORE_CHECKS: Mapping[str, Callable[[Storage], str]] = {"space": space, "snapshot": snapshot}
