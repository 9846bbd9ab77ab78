"""The password for Redis out of a file, so that no command line, no variable and no file of settings has to show it."""

from pathlib import Path
from urllib.parse import parse_qs, quote

from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.urls import split_url

# No password is longer, and whatever is read here by mistake stays in bounds.
LONGEST_LINE = 65_536


def add_password(url: str, path: Path) -> str:
    """Return `url` with the first line of the file at `path` as the password of its user, percent-encoded.

    Raises:
        SettingsError: there is no URL, it cannot be used or it has a password already, or the file has none; the
            message shows neither the URL nor anything that is in the file.
    """
    if not url:
        raise SettingsError(
            "RECKONER_REDIS_PASSWORD_FILE is set and RECKONER_REDIS_URL is not, and the embedded Redis has no "
            "password: set both or neither."
        )
    parts = split_url(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise SettingsError("The Redis URL has a password, and RECKONER_REDIS_PASSWORD_FILE is set: leave one of them.")
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
        why = (error.strerror if isinstance(error, OSError) else None) or "this is no path"
        raise SettingsError(f"The Redis password file {path} cannot be read: {why}.") from error
    if not password:
        raise SettingsError(f"The Redis password file {path} is empty: its first line has to be the password.")
    return password
