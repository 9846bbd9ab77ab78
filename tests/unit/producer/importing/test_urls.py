"""Database URLs are parsed, and passwords are never shown."""

import pytest

from reckoner.producer.importing.reading.urls import find_database, is_database
from reckoner.shared.errors import SourceError, UsageError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "source", ["postgresql://a@b/c", "postgres://", "sqlite:///a", "env:DATABASE_URL", "my+sql://a"]
)
def test_a_url_is_no_path(source: str) -> None:
    """Nor is the name of a variable."""
    assert is_database(source)


@pytest.mark.parametrize("source", ["ratings.csv", "/a/b.parquet", "./env:X", "a:b", "C:/x", "-"])
def test_a_path_is_no_url(source: str) -> None:
    """With any characters."""
    assert not is_database(source)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://host",
        "postgresql://user@host:5433/name",
        "postgresql://user@[::1]:5433,other:5434/name?sslmode=verify-full&options=-c%20a%3Db",
        "postgresql://us%40er@/name?host=/var/run/with%20space",
        "postgresql:///name?user=a&passfile=/some/file",
        "sqlite:///shop ü.db",
        "sqlite:////var/shop%20?#.db",
    ],
)
def test_a_url_without_a_password_is_taken(url: str) -> None:
    """On the command line and from a variable."""
    assert find_database(url, {}).url == url
    assert find_database("env:X", {"X": f"{url}\n"}) == find_database(url, {})


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@host/name",
        f"postgres://:{SECRET}@host",
        f"postgresql://host/name?password={SECRET}",
        f"postgresql://host/name?p%61ssword={SECRET}",
        f"postgresql://host/name?sslmode=require&sslpassword={SECRET}",
    ],
)
def test_a_password_on_the_command_line_is_refused(url: str) -> None:
    """The sentence does not repeat the password; a URL in a variable may contain it."""
    with pytest.raises(UsageError, match=r"PGPASSWORD or PGPASSFILE, .* env:DATABASE_URL\.$") as caught:
        find_database(url, {})
    assert SECRET not in str(caught.value)
    database = find_database("env:X", {"X": url})
    assert database.passwords == (SECRET,)
    assert SECRET not in repr(database)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"mysql://user:{SECRET}@host/name", "mysql://"),
        (f"postgresql+psycopg://user:{SECRET}@host/name", "postgresql+psycopg://"),
        (f"user:{SECRET}@host/name", "no scheme"),
        (f"sqlite://{SECRET}", "sqlite:///path"),
        ("sqlite:///", "sqlite:///path"),
        (f"postgresql://user:{SECRET}", "%"),
        (f"postgresql://user:{SECRET}/name", "%"),
        (f"postgresql://user:a@{SECRET}@host/name", "%"),
        (f"postgresql://user:a/{SECRET}@host/name", "%"),
        (f"postgresql://user:a?{SECRET}@host/name", "%"),
        (f"postgresql://user:a#{SECRET}@host/name", "%"),
        (f"postgresql://user:%zz{SECRET}@host/name", "%"),
        (f"postgresql://user:%00{SECRET}@host/name", "%"),
        (f"postgresql://host/name?password=a&{SECRET}", "%"),
        (f"postgresql://host/name?password=a={SECRET}", "%"),
        (f"postgresql://[host]{SECRET}/name", "%"),
    ],
)
def test_what_cannot_be_read_is_not_repeated(url: str, said: str) -> None:
    """One sentence shows the form of a URL."""
    for source, environ in ((url, {}), ("env:X", {"X": url})):
        if not is_database(source):
            continue
        with pytest.raises((SourceError, UsageError)) as caught:
            find_database(source, environ)
        assert said in str(caught.value) or isinstance(caught.value, UsageError)
        assert SECRET not in str(caught.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    """Nor one that is empty."""
    for environ in ({}, {"NOPE": " "}):
        with pytest.raises(SourceError, match=r"^The variable NOPE is not set\.$"):
            find_database("env:NOPE", environ)
