"""Reads the settings file, `reckoner.toml`."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reckoner.shared.errors import SettingsError

FILE_NAME = "reckoner.toml"
MAX_FILE_BYTES = 1 << 20


def absolute_path(path: str) -> Path:
    """The absolute path, with the home of a user in place of a tilde."""
    # Path.expanduser raises for an unknown user.
    return Path(os.path.expanduser(path)).absolute()


def read_file(named: str, fields: Sequence[str]) -> tuple[Path | None, dict[str, Any]]:
    """The path of the settings file, named or else in the working directory, and its values; (None, {}) without one.

    Raises:
        SettingsError: it cannot be read, or has a key that is none of `fields`. No value is shown.
    """
    try:
        path = absolute_path(named or FILE_NAME)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and not named:
            return None, {}
        why = (error.strerror if isinstance(error, OSError) else None) or "invalid path"
        raise SettingsError(f"The settings file {named or FILE_NAME} cannot be read: {why}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"The settings file {path} is too large: it has over {MAX_FILE_BYTES:,} bytes.")
    values = _parse(path, data)
    if unknown := sorted(values.keys() - set(fields)):
        nearest = _nearest(unknown[0], fields)
        raise SettingsError(f"{unknown[0][:64]} in {path} is not a setting. The nearest one is {nearest}.")
    if isinstance(values.get("fit"), dict):
        values["fit"] = _as_options(values["fit"])
    if isinstance(values.get("event_types"), dict):
        # Dates become texts, which no field of an event type is.
        values["event_types"] = json.dumps(values["event_types"], default=str, ensure_ascii=False)
    return path, {field: value for field, value in values.items() if value != ""}


def _as_options(table: Mapping[str, Any]) -> str:
    """A table as the options of a command: `[fit]` with `neighbours = 50` is `--neighbours 50`."""
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in table.items())


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"Line {line} of the settings file {path} is not UTF-8 text.") from None
    except (ValueError, RecursionError) as error:
        # tomllib's message may quote a secret.
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(data.splitlines()))
        where = f"line {line}" if found or "end of document" in str(error) else "a value"
        raise SettingsError(
            f'The settings file {path} is not valid TOML at {where}. Examples: prefix = "reckoner", list_length = 20.'
        ) from None


def _nearest(key: str, fields: Sequence[str]) -> str:
    from difflib import get_close_matches

    wanted = key[:64].lower().removeprefix("reckoner_")
    return get_close_matches(wanted, fields, n=1, cutoff=0.0)[0]
