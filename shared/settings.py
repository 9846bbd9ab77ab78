"""The settings: one frozen object, read from `RECKONER_*` variables in this one place."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.errors import SettingsError

VARIABLE_PREFIX = "RECKONER_"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be set from outside; the field `list_length` is the variable `RECKONER_LIST_LENGTH`, and so on."""

    redis_url: Annotated[str, Meta(description="The Redis to use; when empty, the embedded one that `up` runs.")] = ""
    store_url: Annotated[
        str, Meta(description="Where one prefix keeps its snapshots and models; when empty, `store` in the home.")
    ] = ""
    home: Annotated[str, Meta(description="Where the embedded Redis and the store keep their files.")] = "~/.reckoner"
    prefix: Annotated[
        str, Meta(description="What every key in Redis starts with."), Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")
    ] = "reckoner"
    list_length: Annotated[int, Meta(description="L, the length of every cached list.", ge=1, le=1000)] = 20
    result_ttl_s: Annotated[int, Meta(description="How long a cached list lives, in seconds.", ge=1)] = 8 * 86_400
    chunks: Annotated[int, Meta(description="How many similarity chunks a model is planned in.", ge=1, le=500)] = 32
    tasks_per_job: Annotated[
        int,
        Meta(description="Into how many chunk tasks a job is split; never more than there are chunks.", ge=1, le=500),
    ] = 4
    block_size: Annotated[int, Meta(description="How many users one job of a run computes.", ge=1, le=100_000)] = 500
    task_deadline_s: Annotated[
        float, Meta(description="How long one task may run, in seconds, before its job fails.", ge=0.5, le=3600)
    ] = 15.0
    first_look_s: Annotated[
        float, Meta(description="When the sweeper first looks at a job, in seconds after its start.", ge=0.1, le=600)
    ] = 10.0
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The least level that is logged.")
    ] = "INFO"

    @property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return Path(self.home).expanduser().absolute()

    @property
    def store_location(self) -> str:
        """The store's URL: the one that was set, or the directory `store` in the home."""
        return self.store_url or (self.home_path / "store").as_uri()


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from `environ`.

    Raises:
        SettingsError: a variable starts with `RECKONER_` and is no setting, or its value is not one it can have. The
            message names the variable and never shows the value, which may be a password.
    """
    fields = {VARIABLE_PREFIX + field.upper(): field for field in Settings.__struct_fields__}
    given = {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX)}
    unknown = sorted(given.keys() - fields.keys())
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting; the settings are: {', '.join(sorted(fields))}.")
    values = {fields[name]: value for name, value in given.items() if value != ""}
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).rpartition(" - at `$.")
        # Of a value that is none of a few msgspec tells which it is.
        reason = reason.partition(" '")[0]
        raise SettingsError(f"{VARIABLE_PREFIX}{where.rstrip('`').upper()} cannot be used: {reason}.") from None
