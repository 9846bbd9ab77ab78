"""Parses database URLs, and hides their passwords in messages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from reckoner.producer.importing.reading.s3 import is_object
from reckoner.shared.errors import SourceError, UsageError

VARIABLE_MARK = "env:"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Strict, because libpq quotes the parts of a URL that it misreads, and a part may contain the password.
POSTGRES = re.compile(
    r"postgres(?:ql)?://(?:[^:@/?#]*(?::(?P<password>[^@/?#]*))?@)?"
    r"(?:(?:\[[^\]@/?#]*\]|[^:@/?#,\[\]]*)(?::\d*)?(?:,|(?=[/?]|$)))*"
    r"(?:/[^@/?#]*)?(?:\?(?P<options>[^=&@#]+=[^=&@#]*(?:&[^=&@#]+=[^=&@#]*)*))?"
)
BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})|%00")
SECRET_OPTION = re.compile("password|secret")


@dataclass(frozen=True, slots=True)
class Database:
    """A database and the passwords in its URL, raw and unescaped, longest first."""

    kind: Literal["PostgreSQL", "SQLite"]
    url: str = field(repr=False)
    passwords: tuple[str, ...] = field(default=(), repr=False)

    @property
    def path(self) -> Path:
        """The path of an SQLite database: everything after `sqlite:///`, unchanged."""
        return Path(self.url.removeprefix("sqlite:///"))

    def without_secrets(self, text: str) -> str:
        """Replace the URL and its passwords by asterisks."""
        for secret in (self.url, *self.passwords):
            text = text.replace(secret, "***")
        return text


def is_database(source: str) -> bool:
    """Whether a source is a URL or the name of a variable with one; otherwise it is a path."""
    return source.startswith(VARIABLE_MARK) or (SCHEME.match(source) is not None and not is_object(source))


def find_database(source: str, environ: Mapping[str, str]) -> Database:
    """The database of `source`: a URL, or `env:` and a variable of `environ` that holds the URL.

    Raises:
        UsageError: a URL on the command line has a password.
        SourceError: the variable is not set, or the URL is not one of PostgreSQL or SQLite.
    """
    if not source.startswith(VARIABLE_MARK):
        database = _read(source, "The URL")
        if database.passwords:
            raise UsageError(
                "The URL contains a password, which other users can see in the process list. Set PGPASSWORD or "
                "PGPASSFILE, or put the URL into a variable and give its name, as in env:DATABASE_URL."
            )
        return database
    name = source.removeprefix(VARIABLE_MARK)
    url = environ.get(name, "").strip()
    if not url:
        raise SourceError(f"The variable {name} is not set.")
    return _read(url, f"The URL in {name}")


def _read(url: str, what: str) -> Database:
    scheme = SCHEME.match(url)
    kind = scheme[1] if scheme else ""
    if kind in ("postgres", "postgresql"):
        return Database("PostgreSQL", url, _passwords(url, what))
    if url.startswith("sqlite:///") and url != "sqlite:///":
        return Database("SQLite", url)
    found = f"begins with {kind}://" if kind else "has no scheme"
    raise SourceError(f"{what} {found}. Supported are postgresql://user@host/name and sqlite:///path.")


def _passwords(url: str, what: str) -> tuple[str, ...]:
    """The passwords in a PostgreSQL URL; see `Database`."""
    parts = POSTGRES.fullmatch(url)
    if parts is None or BAD_ESCAPE.search(url):
        raise SourceError(
            f"{what} does not match postgresql://user:password@host:port/name?option=value. Write each of "
            "the characters : / ? # [ ] @ & = % within a part as % with two hexadecimal digits."
        )
    options = [option.split("=") for option in (parts["options"] or "").split("&") if option]
    values = [value for key, value in options if SECRET_OPTION.search(unquote(key))]
    found = {text for value in (parts["password"], *values) if value for text in (value, unquote(value))}
    return tuple(sorted(found, key=len, reverse=True))
