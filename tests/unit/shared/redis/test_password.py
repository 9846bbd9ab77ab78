"""The password out of a file goes to Redis as it is, and nowhere else."""

from pathlib import Path

import pytest
from redis.asyncio.connection import parse_url

from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.connections import describe
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.password import add_password
from reckoner.shared.settings import Settings

SECRET = "hunter2@:/?#%[] é\t'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a password that has whatever a URL could trip over."""
    path = tmp_path / "a sëcret"
    path.write_text(SECRET + "\r\nand another line\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("redis://host:1/2?socket_timeout=3", None),
        ("rediss://@host", None),
        ("redis://:@host", None),
        ("redis://a%40b@host", "a@b"),
        ("redis://who:@[::1]:1", "who"),
        ("redis://host?username=who", "who"),
        ("unix:///a%20b/c.sock?db=1", None),
        ("unix://who@/c.sock", "who"),
    ],
)
def test_it_reaches_the_connection_and_no_message(url: str, user: str | None, file: Path) -> None:
    """User, place and options stay what they were."""
    whole = find_redis(Settings(redis_url=url, redis_password_file=str(file)))
    before, after = dict(parse_url(url)), dict(parse_url(whole))
    assert after.pop("password") == SECRET
    assert after.pop("username", None) == user
    assert after == {name: value for name, value in before.items() if name not in ("username", "password")}
    assert describe(whole) == describe(url)
    assert "hunter2" not in describe(whole)


@pytest.mark.parametrize("url", ["redis://:hunter2@host", "redis://host?password=hunter2", "unix://u:hunter2@/c.sock"])
def test_two_passwords_are_refused(url: str, file: Path) -> None:
    """Nobody could tell which one was meant."""
    with pytest.raises(SettingsError, match=r"Remove one of them\.$") as caught:
        add_password(url, file)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"", "has an empty first line"),
        (b"\nhunter2", "has an empty first line"),
        (b"hunter2\xff", "is not UTF-8 text."),
    ],
)
def test_a_file_without_one_is_a_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    """It names the file, and shows nothing that is in it."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        add_password("redis://host", path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value) + str(caught.value.__cause__)


def test_an_invalid_url_is_not_shown(file: Path) -> None:
    """It is checked before the file is read."""
    with pytest.raises(SettingsError, match=r"is invalid\. In a user name"):
        add_password("redis://a:b/c@host", file)


def test_a_password_without_a_url_is_refused(file: Path) -> None:
    """The embedded server has none, and a setting that nothing heeds is a slip."""
    with pytest.raises(SettingsError, match="Set both or neither"):
        find_redis(Settings(redis_password_file=str(file), home=str(file.parent)))
