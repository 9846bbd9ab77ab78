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


def can_import() -> bool:
    """Whether the extra `data`, which imports need, is installed."""
    return find_spec("pyarrow") is not None
