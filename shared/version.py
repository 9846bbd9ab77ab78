"""The installed release of Ready Reckoner."""

from importlib import metadata

DISTRIBUTION = "ready-reckoner"


def installed_version() -> str:
    """The installed version, empty in a checkout that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""
