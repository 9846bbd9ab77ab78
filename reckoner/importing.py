"""Imports from Python: `from reckoner.importing import import_interactions, open_store`. It needs the extra `data`."""

import msgspec

from reckoner.producer.importing import (
    Columns,
    Frame,
    ImportLimits,
    ImportReport,
    ItemColumns,
    Options,
    Positive,
    Preview,
    Reading,
    Rules,
    import_interactions,
    preview_interactions,
)
from reckoner.shared.event_types import EventType, EventTypes
from reckoner.shared.settings import load_settings
from reckoner.shared.store import location
from reckoner.shared.store.protocol import Store

__all__ = [
    "Columns",
    "EventType",
    "EventTypes",
    "Frame",
    "ImportLimits",
    "ImportReport",
    "ItemColumns",
    "Options",
    "Positive",
    "Preview",
    "Reading",
    "Rules",
    "Store",
    "import_interactions",
    "open_store",
    "preview_interactions",
]


def open_store(url: str | None = None) -> Store:
    """Open the store at a URL such as `file:///srv/store` or `s3://bucket/prefix`, by default that of the commands.

    Raises:
        SettingsError: the settings are invalid.
        StoreError: the URL is invalid, or the directory is not writable.
    """
    settings = load_settings()
    return location.store_of(settings if url is None else msgspec.structs.replace(settings, store_url=url))
