"""Which release of Ready Reckoner this is."""

from importlib import metadata

DISTRIBUTION = "ready-reckoner"


def installed_version() -> str:
    """The number of the release that is installed, empty in a checkout that is not."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""
