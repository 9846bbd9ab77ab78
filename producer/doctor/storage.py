"""The checks of the artifact store; they never create a store."""

import math
import os
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reckoner.producer.client.answers import describe_outdated_model
from reckoner.producer.doctor.findings import OLD_MS, QUIET_MS, CheckError, format_age
from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.settings import Settings
from reckoner.shared.store.bucket import is_bucket
from reckoner.shared.store.location import cache_directory, store_directory, store_of
from reckoner.shared.store.manifests import read_manifest
from reckoner.shared.store.model_config import KERNEL_VERSION
from reckoner.shared.store.protocol import ArtifactKind, Store

# Left free after a new snapshot and a new model are written beside the current ones.
LEAST_FREE_BYTES = 100 * 2**20
IMPORT = "import the same data again to restore it"
FIT = "run `reckoner fit` again"
HEALS = "the workers rebuild it"
WAITS = "the workers rebuild it when its snapshot, also damaged, is repaired"

# Called with the bytes read and their total.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Storage:
    """The store to check, its directory or that of its cache, and the artifacts that pointers in Redis name."""

    store: Store
    directory: Path
    named: Sequence[tuple[ArtifactKind, str]]
    live: str | None = None
    """The snapshot of the live generation, if known."""
    nightly: bool = False
    """Whether a night is to bring new data every day."""
    night: datetime | None = None
    """When the last finished night was due, if known."""
    source_checked: datetime | None = None
    """When a night last found that the source has not changed, or imported it; None if unknown."""

    @property
    def source_checked_ms(self) -> float:
        """Milliseconds since a night last looked at the source; infinite if unknown."""
        checked = self.source_checked
        return math.inf if checked is None else (datetime.now(UTC) - checked).total_seconds() * 1000

    def wanted(self) -> list[tuple[ArtifactKind, str]]:
        """The artifacts that must exist: the current snapshot and those that pointers name, each once."""
        current = self.store.current_snapshot()
        own: list[tuple[ArtifactKind, str]] = [("snapshots", current)] if current else []
        return list(dict.fromkeys([*own, *self.named]))

    def size(self) -> int:
        """The size in bytes of the wanted artifacts that exist."""
        total = 0
        for kind, name in self.wanted():
            try:
                total += sum(file.size for file in self.store.manifest(kind, name).arrays.values())
            except (ArtifactMissingError, ArtifactDamagedError):
                # The check `artifacts` reports it.
                continue
        return total


def open_storage(
    settings: Settings,
    named: Sequence[tuple[ArtifactKind, str]],
    live: str | None = None,
    *,
    nightly: bool = False,
    night: datetime | None = None,
    source_checked: datetime | None = None,
) -> Storage:
    """The store of these settings, after a test write and read.

    Raises:
        CheckError: there is no store.
        StoreError: the store cannot be used.
    """
    in_bucket = is_bucket(settings.store_location)
    directory = cache_directory(settings) if in_bucket else store_directory(settings.store_location)
    if not in_bucket and (not directory.exists() or (directory.is_dir() and not (directory / "snapshots").is_dir())):
        raise CheckError(f"There is no store in {directory}. Mount it, or create one with `reckoner import`.")
    store = store_of(settings)
    part = store.put_part(os.urandom(32))
    store.get_part(part)
    store.delete("parts", part)
    return Storage(store, directory, named, live, nightly, night, source_checked)


def space(storage: Storage) -> str:
    """There is space for another snapshot and model of the current size."""
    free, needed = shutil.disk_usage(storage.directory).free, LEAST_FREE_BYTES + storage.size()
    if free < needed:
        raise CheckError(
            f"{free / 2**20:,.0f} MiB are free, but the next model may need {needed / 2**20:,.0f}. Free some space."
        )
    return f"{free / 2**20:,.0f} MiB are free."


def snapshot(storage: Storage) -> str:
    """There is a current snapshot, of the last night's data, and the live model was built from it."""
    current = storage.store.current_snapshot()
    if current is None:
        raise CheckError("Nothing was imported yet. Run `reckoner import PATH`.")
    age_s = next((entry.age_s for entry in storage.store.entries("snapshots") if entry.id == current), None)
    age = "" if age_s is None else f", {format_age(age_s * 1000)} old"
    age_ms = 0 if age_s is None else age_s * 1000
    if storage.nightly and age_ms > QUIET_MS and storage.source_checked_ms <= OLD_MS:
        raise CheckError(f"{current} is current{age}: the source has not changed since. Check what writes it.")
    if storage.nightly and min(age_ms, storage.source_checked_ms) > OLD_MS:
        raise CheckError(f"{current} is current{age}. See how imports ended with `reckoner runs`.")
    if storage.live in (None, current):
        return f"{current} is current{age}."
    outdated = f"{current} is current{age}; {describe_outdated_model(storage.live)}"
    if storage.night and age_s is not None and datetime.now(UTC) - timedelta(seconds=age_s) < storage.night:
        raise CheckError(outdated)
    return outdated


def artifacts(storage: Storage, progress: Progress) -> str:
    """All wanted artifacts exist and match their hashes."""
    wanted, total, done = storage.wanted(), storage.size(), 0
    damage = dict[tuple[ArtifactKind, str], str]()

    def read(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    progress(0, total)
    for kind, name in wanted:
        try:
            storage.store.verify(kind, name, read)
        except (ArtifactMissingError, ArtifactDamagedError) as error:
            damage[kind, name] = str(error).rstrip(".")
    if damage:
        broken = {name for kind, name in damage if kind == "snapshots"}
        sentences = (f"{why}; {_remedy(storage.store, *artifact, broken)}." for artifact, why in damage.items())
        raise CheckError(" ".join(sentences))
    aside = [name for name, _ in storage.store.quarantined()]
    also = f" Damaged, set aside and unused: {', '.join(aside)}." if aside else ""
    return f"{len(wanted):,} in use, {done / 2**20:,.1f} MiB, match their hashes.{also}"


def _remedy(store: Store, kind: ArtifactKind, name: str, broken: Container[str]) -> str:
    """How to repair a damaged artifact; `broken` are the damaged snapshots."""
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
