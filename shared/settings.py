"""The settings: one frozen object, read here from `RECKONER_*` variables and a file."""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from reckoner.shared.defaults import (
    MAX_BLOCK_USERS,
    MAX_EVENTS,
    MAX_LIST_LENGTH,
    MAX_QUEUED,
    MAX_SPARE,
    MAX_THREADS,
    SPARE,
)
from reckoner.shared.errors import SettingsError
from reckoner.shared.event_types import parse_event_types
from reckoner.shared.list_names import POPULAR, parse_fallback
from reckoner.shared.nightly import parse_nightly
from reckoner.shared.settings_file import absolute_path, read_file

VARIABLE_PREFIX = "RECKONER_"
# The file of settings, in the working directory unless this variable names another.
FILE_VARIABLE = "RECKONER_CONFIG"
DEFAULT = "default"

# Variables that Kubernetes sets for services named `reckoner` or `reckoner-...`. RECKONER_PORT=80 is none of them.
SERVICE_VARIABLE = re.compile(
    r"RECKONER_(\w+_)?"
    r"(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)",
    re.ASCII,
)

# What an import takes for a password in a URL, and passwords whose signs are not escaped.
PASSWORD = re.compile("://[^@/?#]*:[^@]+@")
PASSWORD_OPTION = re.compile("://.*[?&][^=&]*(password|secret)[^=&]*=[^&]", re.IGNORECASE | re.DOTALL)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings: field `list_length` is the variable `RECKONER_LIST_LENGTH`, or the file's key `list_length`."""

    redis_url: Annotated[str, Meta(description="The URL of Redis; empty for the embedded server that `up` runs.")] = ""
    redis_password_file: Annotated[
        str, Meta(description="A file whose first line is the password of Redis, instead of one in its URL.")
    ] = ""
    store_url: Annotated[
        str,
        Meta(
            description="The store of snapshots and models, one for each prefix, as file:///absolute/path or "
            "s3://bucket/prefix (also gs:// and az://); empty for `store` in the home."
        ),
    ] = ""
    store_cache_mb: Annotated[
        int,
        Meta(
            description="The size of this host's cache of a store in a bucket, in megabytes; what is in use stays.",
            ge=1,
            le=1_000_000_000,
        ),
    ] = 20_000
    home: Annotated[str, Meta(description="The directory of the embedded Redis, the default store and caches.")] = (
        "~/.reckoner"
    )
    prefix: Annotated[
        str, Meta(description="The prefix of every key in Redis."), Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")
    ] = "reckoner"
    list_length: Annotated[
        int, Meta(description="L, the length of every list that is read.", ge=1, le=MAX_LIST_LENGTH)
    ] = 20
    spare: Annotated[
        int,
        Meta(
            description="The number of further places of a cached list, for readers that leave some out.",
            ge=0,
            le=MAX_SPARE,
        ),
    ] = SPARE
    result_ttl_s: Annotated[
        int, Meta(description="The time to live of a cached list, in seconds.", ge=1, le=10 * 365 * 86_400)
    ] = 8 * 86_400
    fallback: Annotated[
        str,
        Meta(
            description="What a user without a list is shown: names of lists, separated by commas, of which the first "
            "counts that has something to show, as in `trending:shoes, popular`. Applications give it to their "
            "`Reckoner`."
        ),
    ] = POPULAR
    trending_days: Annotated[
        int,
        Meta(description="The days before the newest interaction that count for what is trending.", ge=1, le=3650),
    ] = 7
    chunks: Annotated[int, Meta(description="The number of similarity chunks of a model.", ge=1, le=500)] = 32
    tasks_per_job: Annotated[
        int,
        Meta(
            description="The number of chunk tasks of a job for one user or basket, at most the number of chunks.",
            ge=1,
            le=500,
        ),
    ] = 4
    batch_task_ms: Annotated[
        float,
        Meta(
            description="The planned duration of a block's chunk task, in milliseconds; there are at most as many "
            "tasks as chunks.",
            gt=0,
            le=10_000,
        ),
    ] = 20.0
    threads: Annotated[
        int,
        Meta(
            description="The number of threads for batch kernels in a worker process; clicks have their own thread.",
            ge=1,
            le=MAX_THREADS,
        ),
    ] = 1
    tile_mb: Annotated[
        int,
        Meta(
            description="The memory for a tile's columns and bit sets while a model is built, in megabytes.",
            ge=1,
            le=1_000_000,
        ),
    ] = 256
    block_size: Annotated[
        int,
        Meta(
            description="The number of users in one job of a run; 0 sizes jobs by their work.", ge=0, le=MAX_BLOCK_USERS
        ),
    ] = 0
    lease_s: Annotated[
        float,
        Meta(description="Seconds without a heartbeat until other workers take over a worker's jobs.", ge=1, le=600),
    ] = 5.0
    max_queued: Annotated[
        int,
        Meta(description="The number of jobs in a lane from which enqueuing is refused.", ge=1, le=100_000_000),
    ] = MAX_QUEUED
    max_events: Annotated[
        int,
        Meta(
            description="The number of recorded events that no live snapshot holds from which recording is refused.",
            ge=1,
            le=1_000_000_000,
        ),
    ] = MAX_EVENTS
    rotation: Annotated[
        float,
        Meta(
            description="By how much an item's score counts less for each time that it was shown and not taken, as a "
            "share; see impressions. 0 switches rotation off.",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    stop_s: Annotated[
        float,
        Meta(
            description="Seconds that a stopping worker lets its jobs run before it returns them to the queue.",
            ge=0,
            le=3600,
        ),
    ] = 2.0
    task_deadline_s: Annotated[
        float, Meta(description="Seconds until a running task times out and its job fails.", ge=0.5, le=3600)
    ] = 15.0
    trouble_s: Annotated[
        float,
        Meta(
            description="Seconds for which a job is retried while store, disk or memory fail. While the whole store is "
            "unavailable, jobs wait without limit.",
            ge=0,
            le=86_400,
        ),
    ] = 300.0
    first_look_s: Annotated[
        float, Meta(description="Seconds from a job's start to the sweeper's first check of it.", ge=0.1, le=600)
    ] = 10.0
    nightly: Annotated[
        str,
        Meta(
            description="When the night begins, once a day, as in `03:00 Europe/Berlin`. The default time zone is UTC; "
            "empty for never."
        ),
    ] = ""
    source: Annotated[
        str,
        Meta(
            description="What a night imports: the arguments of `reckoner import`, as in "
            "`/data/purchases.parquet --user customer`, or `--events` for recorded events alone; empty for nothing."
        ),
    ] = ""
    event_types: Annotated[
        str,
        Meta(
            description="The weight and the role of each event type, as JSON such as "
            '`{"purchase": {"weight": 3, "role": "history"}}`, in the file a table `[event_types]`; empty for the '
            "built-in types."
        ),
    ] = ""
    fit: Annotated[
        str,
        Meta(
            description="The models that nights fit: the options of `reckoner fit`, as in `--similarity bm25`; empty "
            "for the configuration of the live model, which options without a similarity change. Without `--recency` "
            "the live generation's stays."
        ),
    ] = ""
    on_night: Annotated[
        str,
        Meta(
            description="A command, or an http(s) URL, that gets the outcome of each night as JSON: a command on its "
            "standard input, a URL by POST; empty for none."
        ),
    ] = ""
    gate_users_lost: Annotated[
        float,
        Meta(
            description="The most of the live generation's users that the next one may lack, as a share: 0.3 is 30 %; "
            "1 switches this gate off.",
            ge=0,
            le=1,
        ),
    ] = 0.3
    gate_popular: Annotated[
        float,
        Meta(
            description="The most of the users with a list who may get the popular list instead, as a share.",
            ge=0,
            le=1,
        ),
    ] = 0.3
    gate_churn: Annotated[
        float, Meta(description="The most of the places that may have a new item, as a share.", ge=0, le=1)
    ] = 0.9
    gate_empty: Annotated[
        float,
        Meta(description="By how much the share of empty lists may be higher than the live one.", ge=0, le=1),
    ] = 0.1
    gate_concentration: Annotated[
        float,
        Meta(
            description="By how much the share of places with one of the ten most frequent items may be higher than "
            "the live one.",
            ge=0,
            le=1,
        ),
    ] = 0.2
    gate_coverage: Annotated[
        float,
        Meta(
            description="The least number of different items in the lists, as a share of the live one; 0 switches this "
            "gate off.",
            ge=0,
            le=1,
        ),
    ] = 0.5
    http_tokens_file: Annotated[
        str,
        Meta(
            description="The file of tokens of `reckoner serve`, with a line `ROLE NAME TOKEN` for each; without one "
            "it listens on this machine only."
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The lowest level that is logged.")
    ] = "INFO"

    @property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return absolute_path(self.home)

    @property
    def store_location(self) -> str:
        """The store's URL; by default the directory `store` in the home."""
        return self.store_url or (self.home_path / "store").as_uri()

    @property
    def password_path(self) -> Path | None:
        """The password's file as an absolute path, None when there is none."""
        return absolute_path(self.redis_password_file) if self.redis_password_file else None

    @property
    def http_tokens_path(self) -> Path | None:
        """The file of tokens as an absolute path, None when there is none."""
        return absolute_path(self.http_tokens_file) if self.http_tokens_file else None


@dataclass(frozen=True)
class LoadedSettings:
    """The settings, their file, the origin of each field (`default`, its variable, or the path of the file), and the
    variables of Kubernetes, which are `ignored`.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    ignored: Sequence[str] = ()


def variable_of(field: str) -> str:
    """The variable that sets a field."""
    return VARIABLE_PREFIX + field.upper()


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings only; see `read_settings`."""
    return read_settings(environ).settings


def read_settings(environ: Mapping[str, str] = os.environ) -> LoadedSettings:
    """Read the settings: variables in `environ` override the file, which overrides the defaults. Empty means unset.

    The file is the one that `RECKONER_CONFIG` names, or else `reckoner.toml` in the working directory, if it exists.
    The variables that Kubernetes sets for a service, such as RECKONER_REDIS_SERVICE_HOST, are ignored.

    Raises:
        SettingsError: a setting is unknown, a value is invalid, or the file cannot be read. The message names the
            variable, or the key and the file, but never the value: it may be a password.
    """
    fields = {variable_of(field): field for field in Settings.__struct_fields__}
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX) and value}
    named = variables.pop(FILE_VARIABLE, "")
    others = sorted({name for name in environ if name.startswith(VARIABLE_PREFIX)} - fields.keys() - {FILE_VARIABLE})
    ignored = [name for name in others if SERVICE_VARIABLE.match(f"{name}={environ[name]}")]
    if unknown := [name for name in others if name not in ignored]:
        known = ", ".join(sorted([*fields, FILE_VARIABLE]))
        raise SettingsError(f"{unknown[0]} is not a setting. The settings are: {known}.")
    file, in_file = read_file(named, Settings.__struct_fields__)
    # The whole file is validated, even keys that a variable overrides.
    _convert(in_file, lambda field: f"{field} in {file}", strict=True)
    in_variables = {fields[name]: value for name, value in variables.items() if name in fields}
    given = _convert(in_variables, variable_of, strict=False)
    changed = {field: getattr(given, field) for field in in_variables}
    settings = _convert(in_file | changed, lambda field: field, strict=True)
    origins = dict.fromkeys(Settings.__struct_fields__, DEFAULT) | dict.fromkeys(in_file, str(file))
    return LoadedSettings(settings, file, origins | {field: variable_of(field) for field in in_variables}, ignored)


def _convert(values: Mapping[str, Any], name_of: Callable[[str], str], strict: bool) -> Settings:
    """Convert `values` to settings, from text unless `strict`; an error names a field by `name_of`."""
    for field, value in values.items():
        # Opening a path with a NUL raises ValueError.
        if isinstance(value, str) and "\0" in value:
            raise SettingsError(f"{name_of(field)} is invalid: it has a NUL character.")
        # A path may be any bytes, but msgspec checks patterns in UTF-8 only.
        try:
            msgspec.convert({field: value}, Settings, strict=strict)
        except UnicodeEncodeError:
            raise SettingsError(f"{name_of(field)} is invalid: it is not UTF-8 text.") from None
        except msgspec.ValidationError:
            # Reported below.
            continue
    try:
        settings = msgspec.convert(values, Settings, strict=strict)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).rpartition(" - at `$.")
        # For an enum, msgspec's message ends with the value.
        reason = reason.partition(" '")[0]
        if "matching regex" in reason:
            # Only the prefix has a pattern.
            reason = "expected 1 to 64 letters, digits, dots, dashes and underscores"
        raise SettingsError(f"{name_of(where.rstrip('`'))} is invalid: {reason}.") from None
    parsers = {"nightly": parse_nightly, "event_types": parse_event_types, "fallback": parse_fallback}
    for field, parse in parsers.items():
        try:
            parse(getattr(settings, field))
        except ValueError as error:
            raise SettingsError(f"{name_of(field)} is invalid: {error}.") from None
    _check_night(settings, name_of)
    return settings


def _check_night(settings: Settings, name_of: Callable[[str], str]) -> None:
    """Check what nights need, whose values may hold secrets."""
    for field in ("source", "fit", "on_night"):
        try:
            shlex.split(getattr(settings, field))
        except ValueError as error:
            raise SettingsError(f"{name_of(field)} is invalid: {str(error).lower()}.") from None
    words = shlex.split(settings.source)
    if any(PASSWORD.search(word) or PASSWORD_OPTION.search(unquote(word)) for word in words):
        raise SettingsError(
            f"{name_of('source')} is invalid: the URL contains a password, which the list of processes would show. Put "
            "the URL into a variable and give its name, as in env:DATABASE_URL."
        )
