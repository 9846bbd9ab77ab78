"""Reads the password of Redis from a file, so that no command line, variable or settings file shows it."""

from pathlib import Path
from urllib.parse import parse_qs, quote

from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.urls import split_url

# A limit in case the path is a wrong file.
LONGEST_LINE = 65_536


def add_password(url: str, path: Path) -> str:
    """Return `url` with the first line of the file at `path` as the password of its user, percent-encoded.

    Raises:
        SettingsError: the URL is missing, invalid or has a password, or the file has none; the message shows neither
            the URL nor the file's contents.
    """
    if not url:
        raise SettingsError(
            "RECKONER_REDIS_PASSWORD_FILE is set without RECKONER_REDIS_URL, but the embedded Redis has no password. "
            "Set both or neither."
        )
    parts = split_url(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise SettingsError(
            "The Redis URL has a password, and RECKONER_REDIS_PASSWORD_FILE is set too. Remove one of them."
        )
    user, _, place = parts.netloc.rpartition("@")
    secret = quote(_read_line(path), safe="")
    return parts._replace(netloc=f"{user.partition(':')[0]}:{secret}@{place}").geturl()


def _read_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE).rstrip(b"\r\n")
        password = line.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"The first line of the Redis password file {path} is not UTF-8 text.") from None
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "invalid path"
        raise SettingsError(f"The Redis password file {path} cannot be read: {why}.") from error
    if not password:
        raise SettingsError(f"The Redis password file {path} has an empty first line. Write the password there.")
    return password
