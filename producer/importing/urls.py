"""URLs: which database a source names, and what of it may never be shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from reckoner.shared.errors import SourceError, UsageError

VARIABLE_MARK = "env:"
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# As strict as can be: where libpq takes a URL apart in another way than was meant, it quotes the pieces, and one of
# them may be part of the password.
POSTGRES = re.compile(
    r"postgres(?:ql)?://(?:[^:@/?#]*(?::(?P<password>[^@/?#]*))?@)?"
    r"(?:(?:\[[^\]@/?#]*\]|[^:@/?#,\[\]]*)(?::\d*)?(?:,|(?=[/?]|$)))*"
    r"(?:/[^@/?#]*)?(?:\?(?P<options>[^=&@#]+=[^=&@#]*(?:&[^=&@#]+=[^=&@#]*)*))?"
)
BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})|%00")
SECRET_OPTION = re.compile("password|secret")


@dataclass(frozen=True, slots=True)
class Database:
    """A database, and the passwords in its URL, each as it stands there and as it is meant, the longest first."""

    kind: Literal["PostgreSQL", "SQLite"]
    url: str = field(repr=False)
    passwords: tuple[str, ...] = field(default=(), repr=False)

    @property
    def path(self) -> Path:
        """Where the file of an SQLite database lies: all that stands behind the three slashes, as it is."""
        return Path(self.url.removeprefix("sqlite:///"))

    def without_secrets(self, text: str) -> str:
        """The text with asterisks in place of the URL and its passwords."""
        for secret in (self.url, *self.passwords):
            text = text.replace(secret, "***")
        return text


def is_database(source: str) -> bool:
    """Whether a source is the URL of something, or the name of a variable that holds one; otherwise it is a path."""
    return source.startswith(VARIABLE_MARK) or SCHEME.match(source) is not None


def find_database(source: str, environ: Mapping[str, str]) -> Database:
    """The database that `source` names by its URL, or by `env:` and the variable of `environ` that holds the URL.

    Raises:
        UsageError: the URL has a password and stands on the command line.
        SourceError: the variable is not set, or the URL is not one of PostgreSQL or SQLite.
    """
    if not source.startswith(VARIABLE_MARK):
        database = _read(source, "The URL")
        if database.passwords:
            raise UsageError(
                "The URL has a password, which everybody on this machine can see in the list of processes: give it in "
                "PGPASSWORD or PGPASSFILE, or put the URL into a variable and name that, as in env:DATABASE_URL."
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
    raise SourceError(f"{what} {found}; what can be imported is postgresql://user@host/name or sqlite:///path.")


def _passwords(url: str, what: str) -> tuple[str, ...]:
    """The passwords in the URL of a PostgreSQL database; see `Database`."""
    parts = POSTGRES.fullmatch(url)
    if parts is None or BAD_ESCAPE.search(url):
        raise SourceError(
            f"{what} is not as postgresql://user:password@host:port/name?option=value; where a part of it has one of "
            "the signs : / ? # [ ] @ & = %, write it as % with two hexadecimal digits."
        )
    options = [option.split("=") for option in (parts["options"] or "").split("&") if option]
    values = [value for key, value in options if SECRET_OPTION.search(unquote(key))]
    found = {text for value in (parts["password"], *values) if value for text in (value, unquote(value))}
    return tuple(sorted(found, key=len, reverse=True))
