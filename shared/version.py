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
    """Whether what an import of this source needs is installed: the extra `data`, or `sql` or `s3`."""
    needed = ["pyarrow"]
    if "s3://" in source:
        needed.append("obstore")
    elif "://" in source or source.lstrip("'\"").startswith("env:"):
        needed.append("adbc_driver_manager")
    return all(map(find_spec, needed))
