"""`reckoner version`."""

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.output import print_result


def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: reckoner version
    """
    from reckoner.shared.errors import MissingExtraError
    from reckoner.shared.version import DISTRIBUTION, installed_version

    found = installed_version()
    if not found:
        raise MissingExtraError("Ready Reckoner is not installed, so its version is unknown. Install it with pip.")
    print_result({"version": found}, f"{DISTRIBUTION} {found}", as_json)
