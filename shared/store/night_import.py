"""The import of a night as a mark in the store: what was current before, and what it made.

An import that appends and is killed after its snapshot has become the current one must not append its rows again.
"""

import msgspec

from reckoner.shared.errors import SourceAwayError
from reckoner.shared.store.protocol import Store

MARK = "night-import"


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


def _set(store: Store, noted: NightImport) -> None:
    store.set_mark(MARK, msgspec.json.encode(noted), replace=True)
