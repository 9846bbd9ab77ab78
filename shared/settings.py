"""The settings: one frozen object, read from `RECKONER_*` variables and one file in this one place."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH, MAX_QUEUED, MAX_THREADS
from reckoner.shared.errors import SettingsError
from reckoner.shared.nightly import parse_nightly

VARIABLE_PREFIX = "RECKONER_"
# The file of settings, in the working directory unless this variable names another.
FILE_NAME = "reckoner.toml"
FILE_VARIABLE = "RECKONER_CONFIG"
DEFAULT = "default"
# It has some twenty lines, and is read whole.
MAX_FILE_BYTES = 1 << 20

# What Kubernetes sets in every pod beside a service called `reckoner` or `reckoner-...`. A port that is a number alone
# comes from somebody who thinks that it is a setting.
SERVICE_VARIABLE = re.compile(
    r"RECKONER_(\w+_)?"
    r"(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)",
    re.ASCII,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set from outside; the field `list_length` is the variable `RECKONER_LIST_LENGTH`, or the key
    `list_length` in the file, and so on.
    """

    redis_url: Annotated[str, Meta(description="The Redis to use; when empty, the embedded one that `up` runs.")] = ""
    redis_password_file: Annotated[
        str, Meta(description="A file whose first line is the password for that Redis, in place of one in its URL.")
    ] = ""
    store_url: Annotated[
        str, Meta(description="Where one prefix keeps its snapshots and models; when empty, `store` in the home.")
    ] = ""
    home: Annotated[str, Meta(description="Where the embedded Redis and the store keep their files.")] = "~/.reckoner"
    prefix: Annotated[
        str, Meta(description="What every key in Redis starts with."), Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")
    ] = "reckoner"
    list_length: Annotated[int, Meta(description="L, the length of every cached list.", ge=1, le=MAX_LIST_LENGTH)] = 20
    result_ttl_s: Annotated[
        int, Meta(description="How long a cached list lives, in seconds.", ge=1, le=10 * 365 * 86_400)
    ] = 8 * 86_400
    chunks: Annotated[int, Meta(description="How many similarity chunks a model is planned in.", ge=1, le=500)] = 32
    tasks_per_job: Annotated[
        int,
        Meta(
            description="Into how many chunk tasks a job for one user or basket is split; never more than there are "
            "chunks.",
            ge=1,
            le=500,
        ),
    ] = 4
    batch_task_ms: Annotated[
        float,
        Meta(
            description="How long a chunk task of a block computes, in milliseconds: into so many its block is split, "
            "never more than there are chunks.",
            gt=0,
            le=10_000,
        ),
    ] = 20.0
    threads: Annotated[
        int,
        Meta(
            description="How many batch kernels one worker process runs at a time; clicks have a thread of their own.",
            ge=1,
            le=MAX_THREADS,
        ),
    ] = 1
    tile_mb: Annotated[
        int,
        Meta(
            description="How many megabytes a tile's columns take while a model is built, at most, and its bit sets.",
            ge=1,
            le=1_000_000,
        ),
    ] = 256
    block_size: Annotated[
        int, Meta(description="How many users one job of a run computes.", ge=1, le=MAX_BLOCK_USERS)
    ] = 500
    lease_s: Annotated[
        float,
        Meta(
            description="After how many seconds without a sign of a worker others take over what it does.", ge=1, le=600
        ),
    ] = 5.0
    max_queued: Annotated[
        int,
        Meta(description="How many jobs a lane may hold before producers are told to wait.", ge=1, le=100_000_000),
    ] = MAX_QUEUED
    stop_s: Annotated[
        float,
        Meta(
            description="How long a worker that is told to stop lets its jobs go on, in seconds, before it hands them "
            "back.",
            ge=0,
            le=3600,
        ),
    ] = 2.0
    task_deadline_s: Annotated[
        float, Meta(description="How long one task may run, in seconds, before its job fails.", ge=0.5, le=3600)
    ] = 15.0
    trouble_s: Annotated[
        float,
        Meta(
            description="How long a job is tried again while store, disk or memory fail it, in seconds, until it fails "
            "for good; while the whole store is away jobs wait as long as it takes.",
            ge=0,
            le=86_400,
        ),
    ] = 300.0
    first_look_s: Annotated[
        float, Meta(description="When the sweeper first looks at a job, in seconds after its start.", ge=0.1, le=600)
    ] = 10.0
    nightly: Annotated[
        str,
        Meta(
            description="When everybody's list is computed anew, once for each date, as in `03:00 Europe/Berlin`; "
            "without a zone in UTC, when empty never."
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The least level that is logged.")
    ] = "INFO"

    @property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return _absolute(self.home)

    @property
    def store_location(self) -> str:
        """The store's URL: the one that was set, or the directory `store` in the home."""
        return self.store_url or (self.home_path / "store").as_uri()

    @property
    def password_path(self) -> Path | None:
        """The password's file as an absolute path, None when there is none."""
        return _absolute(self.redis_password_file) if self.redis_password_file else None


@dataclass(frozen=True)
class LoadedSettings:
    """The settings as they were read, the file that was read, and where each field came from: `default`, the name of
    its variable, or the path of the file. `passed_over` are the variables that Kubernetes set.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    passed_over: Sequence[str] = ()


def variable_of(field: str) -> str:
    """The variable that sets a field."""
    return VARIABLE_PREFIX + field.upper()


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings alone; see `read_settings`."""
    return read_settings(environ).settings


def read_settings(environ: Mapping[str, str] = os.environ) -> LoadedSettings:
    """Read the settings: variables in `environ` before the file before the defaults. What is empty is not set.

    The file is the one that `RECKONER_CONFIG` names, or `reckoner.toml` in the working directory if it is there.
    The variables that Kubernetes sets for a service, as RECKONER_REDIS_SERVICE_HOST, are passed over.

    Raises:
        SettingsError: a variable starts with `RECKONER_` and is no setting, or the file has such a key; a value is not
            one that its setting can have; or the file cannot be read. The message names the variable, or the key and
            the file, and never shows the value, which may be a password.
    """
    fields = {variable_of(field): field for field in Settings.__struct_fields__}
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX) and value}
    named = variables.pop(FILE_VARIABLE, "")
    others = sorted({name for name in environ if name.startswith(VARIABLE_PREFIX)} - fields.keys() - {FILE_VARIABLE})
    passed_over = [name for name in others if SERVICE_VARIABLE.match(f"{name}={environ[name]}")]
    if unknown := [name for name in others if name not in passed_over]:
        known = ", ".join(sorted([*fields, FILE_VARIABLE]))
        raise SettingsError(f"{unknown[0]} is not a setting; the settings are: {known}.")
    file, in_file = _read_file(named)
    # Both are looked at whole: what a variable covers today has to be right on the day it is taken away.
    _convert(in_file, lambda field: f"{field} in {file}", strict=True)
    in_variables = {fields[name]: value for name, value in variables.items() if name in fields}
    given = _convert(in_variables, variable_of, strict=False)
    changed = {field: getattr(given, field) for field in in_variables}
    settings = _convert(in_file | changed, lambda field: field, strict=True)
    origins = dict.fromkeys(Settings.__struct_fields__, DEFAULT) | dict.fromkeys(in_file, str(file))
    return LoadedSettings(settings, file, origins | {field: variable_of(field) for field in in_variables}, passed_over)


def _absolute(path: str) -> Path:
    # Not Path.expanduser, which raises where there is no such user.
    return Path(os.path.expanduser(path)).absolute()


def _convert(values: Mapping[str, Any], name_of: Callable[[str], str], strict: bool) -> Settings:
    """The settings with `values`, which are text where `strict` is false; an error names a field by `name_of`."""
    for field, value in values.items():
        # In a path it would stop whoever opens that, with an error that nobody foresees.
        if isinstance(value, str) and "\0" in value:
            raise SettingsError(f"{name_of(field)} cannot be used: it has a NUL character.")
        # A path may be any bytes; where msgspec looks into a text, it has to be one.
        try:
            msgspec.convert({field: value}, Settings, strict=strict)
        except UnicodeEncodeError:
            raise SettingsError(f"{name_of(field)} cannot be used: it is not UTF-8 text.") from None
        except msgspec.ValidationError:
            # Told of below, with all others.
            continue
    try:
        settings = msgspec.convert(values, Settings, strict=strict)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).rpartition(" - at `$.")
        # Of a value that is none of a few msgspec tells which it is.
        reason = reason.partition(" '")[0]
        if "matching regex" in reason:
            # The prefix alone has one.
            reason = "it has to be 1 to 64 letters, digits, dots, dashes and underscores"
        raise SettingsError(f"{name_of(where.rstrip('`'))} cannot be used: {reason}.") from None
    try:
        parse_nightly(settings.nightly)
    except ValueError as error:
        raise SettingsError(f"{name_of('nightly')} cannot be used: {error}.") from None
    return settings


def _read_file(named: str) -> tuple[Path | None, dict[str, Any]]:
    """The file of settings and what it sets, (None, {}) when there is none."""
    try:
        path = _absolute(named or FILE_NAME)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError) and not named:
            return None, {}
        why = (error.strerror if isinstance(error, OSError) else None) or "this is no path"
        raise SettingsError(f"The settings file {named or FILE_NAME} cannot be read: {why}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"The settings file {path} has over {MAX_FILE_BYTES:,} bytes, so it is none of settings.")
    values = _parse(path, data)
    if unknown := sorted(values.keys() - set(Settings.__struct_fields__)):
        raise SettingsError(f"{unknown[0][:64]} in {path} is not a setting; the nearest one is {_nearest(unknown[0])}.")
    return path, {field: value for field, value in values.items() if value != ""}


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"Line {line} of the settings file {path} is not UTF-8 text.") from None
    except (ValueError, RecursionError) as error:
        # Not its words and not its cause: they may show a part of what is written there.
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(data.splitlines()))
        where = f"line {line}" if found or "end of document" in str(error) else "a value"
        raise SettingsError(
            f'The settings file {path} is not TOML at {where}; a setting is written as: prefix = "reckoner", or '
            "list_length = 20."
        ) from None


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    wanted = key[:64].lower().removeprefix(VARIABLE_PREFIX.lower())
    return get_close_matches(wanted, Settings.__struct_fields__, n=1, cutoff=0.0)[0]
