"""What is installed: the release, and whether it can import."""

from importlib import metadata
from importlib.util import find_spec

DISTRIBUTION = "ready-reckoner"


def installed_version() -> str:
    """The installed version, empty in a checkout that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""


def can_import(source: str) -> bool:
    """Whether what an import of this source needs is installed: the extra `data`, for a database also `sql`."""
    needs_database = source.lstrip("'\"").startswith("env:") or "://" in source
    return find_spec("pyarrow") is not None and (not needs_database or find_spec("adbc_driver_manager") is not None)
