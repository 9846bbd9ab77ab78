"""The imports of nights as marks in the store: the newest one, and what was imported last.

An import that appends and is killed after its snapshot has become the current one must not append its rows again, and
neither must a later night whose file has not changed.
"""

import msgspec

from reckoner.shared.errors import SourceAwayError
from reckoner.shared.store.protocol import Store

MARK = "night-import"
# The source that a night imported last, and the snapshots that have its rows.
SOURCE_MARK = "imported-source"


class NightImport(msgspec.Struct, frozen=True):
    """The newest import of a night."""

    night: str
    fingerprint: str
    """Of the source, taken before the first try; empty if it has none."""
    before: str
    """The snapshot that was current before the first try; empty without one."""
    made: str = ""
    """The snapshot that is about to become the current one, or is it."""


def find_night_import(store: Store, night: str) -> NightImport | None:
    """The import of this night, if it has begun."""
    data = store.mark(MARK)
    try:
        found = msgspec.json.decode(data, type=NightImport) if data else None
    except msgspec.MsgspecError:
        return None
    return found if found and found.night == night else None


def begin_night_import(store: Store, night: str, fingerprint: str, before: str) -> NightImport:
    """The import of this night, which begins now unless it has before."""
    begun = find_night_import(store, night)
    if begun is None:
        begun = NightImport(night, fingerprint, before)
        _set(store, begun)
    return begun


def note_night_import(store: Store, night: str, made: str) -> None:
    """Note a snapshot that is about to become the current one.

    Raises:
        SourceAwayError: another try of this night has made the current one.
    """
    begun = find_night_import(store, night)
    if begun is None:
        return
    if is_imported(store, begun) and begun.made != begun.before:
        raise SourceAwayError("Another try of this night has imported the rows.")
    _set(store, msgspec.structs.replace(begun, made=made))


def is_imported(store: Store, begun: NightImport) -> bool:
    """Whether the current snapshot is what the night made."""
    return bool(begun.made) and store.current_snapshot() == begun.made


class ImportedSource(msgspec.Struct, frozen=True, array_like=True):
    """What a night imported last."""

    fingerprint: str = ""
    made: str = ""
    """The snapshot that it made."""
    extended: list[str] = []
    """The snapshots that imports have made since by appending to it: the last one, and what became of that."""


def imported_source(store: Store) -> ImportedSource:
    """What a night imported last; empty if unknown."""
    data = store.mark(SOURCE_MARK)
    try:
        return msgspec.json.decode(data, type=ImportedSource) if data else ImportedSource()
    except msgspec.MsgspecError:
        return ImportedSource()


def note_source(store: Store, fingerprint: str, made: str) -> None:
    """Note what a night has imported."""
    store.set_mark(SOURCE_MARK, msgspec.json.encode(ImportedSource(fingerprint, made)), replace=True)


def note_extension(store: Store, before: str, made: str) -> None:
    """Note a snapshot that rows were appended to, and the one that has both and is about to become the current one."""
    known = imported_source(store)
    if before in (known.made, *known.extended):
        extended = msgspec.structs.replace(known, extended=[before, made])
        store.set_mark(SOURCE_MARK, msgspec.json.encode(extended), replace=True)


def _set(store: Store, noted: NightImport) -> None:
    store.set_mark(MARK, msgspec.json.encode(noted), replace=True)
