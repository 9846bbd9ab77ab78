"""`reckoner config`: the effective settings and their sources."""

import re
from typing import TYPE_CHECKING

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from reckoner.shared.settings import LoadedSettings


def config(as_json: AsJson = False) -> None:
    """Show the effective settings and their sources, without secrets.

    URLs are shown without user, password and options, commands without
    arguments.

    Example: reckoner config
    """
    from reckoner.shared.settings import read_settings
    from reckoner.shared.settings_file import FILE_NAME

    reading = read_settings()
    shown = {field: _shown(reading, field) for field in reading.origins}
    if as_json:
        settings = {field: {"value": shown[field], "from": origin} for field, origin in reading.origins.items()}
        print_json({"file": reading.file and str(reading.file), "settings": settings})
        return
    print_line(f"Settings file: {reading.file or f'none ({FILE_NAME} not found here)'}")
    print_line("")
    rows = [(field, str(shown[field]), _origin(reading, field)) for field in shown]
    print_table(("setting", "value", "from"), rows)


def _shown(reading: "LoadedSettings", field: str) -> object:
    value = getattr(reading.settings, field)
    if not value:
        return value
    match field:
        case "redis_url":
            from reckoner.shared.redis.connections import describe

            return describe(value)
        case "store_url":
            # A URL of an unsupported scheme may contain a secret.
            scheme, separator, _ = value.partition("://")
            return value if scheme == "file" else f"{scheme}{separator}..." if separator else "..."
        case "source" | "on_night":
            # A query, the path of a URL and a command's options may be secrets.
            words = value.split(" ")
            first = re.sub("(://[^/]*/).*", r"\1...", words[0])
            return " ".join((first, *(["..."] if len(words) > 1 else [])))
    return value


def _origin(reading: "LoadedSettings", field: str) -> str:
    origin = reading.origins[field]
    return "the file" if origin == str(reading.file) else origin
