"""Objects in S3 are sources as files are."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.buckets import bucket
from tests.commands import CommandLine

SECRET = "hush-hush"
OBJECTS = {
    "all.csv": b"user,item\na,x\nb,y\n",
    "parts/date=1/part-0.csv.gz": gzip.compress(b"user,item\na,x\n"),
    "parts/date=2/part-1.csv.gz": gzip.compress(b"user,item\nb,y\n"),
    "parts/date=2/_SUCCESS": b"ok",
    "parts/date=2/part-2.csv.gz": b"",
    "partsother/part-3.csv": b"no table",
    "bad/part-0.csv": b"user,item\na,x\nb\n",
    "bad/part-1.csv": b"user,item\na,x\n",
}


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[CommandLine]:
    with bucket(OBJECTS) as url:
        commands = CommandLine(home=tmp_path / "home")
        commands.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        yield commands


def test_objects_are_files(commands: CommandLine, tmp_path: Path) -> None:
    """One by its key, or several below a folder or by a pattern."""
    (tmp_path / "all.csv").write_bytes(OBJECTS["all.csv"])
    [expected] = commands.run("import", str(tmp_path / "all.csv"), "--json").objects
    for source in ("all.csv", "parts/", "parts/*/*.gz", "parts/date=?/part-[01]*"):
        [record] = commands.run("import", f"s3://shop/{source}", "--json").objects
        assert (record["snapshot"], record["rows"]) == (expected["snapshot"], 2), source


def test_a_bad_row_names_its_object(commands: CommandLine) -> None:
    """By the end of its key."""
    ended = commands.run("import", "s3://shop/bad/")
    assert "1 row bad: it has 1 value instead of 2 (line 3 of part-0.csv)" in ended.err


@pytest.mark.parametrize(
    ("source", "said", "code"),
    [
        ("s3://shop/nothing.csv", "There is no object s3://shop/nothing.csv.", 1),
        ("s3://shop/nothing/", "There is no object s3://shop/nothing/.", 1),
        ("s3://shop", "Write an object as s3://bucket/key. Credentials come from the environment.", 2),
        (f"s3://{SECRET}@shop/a", "Write an object as s3://bucket/key. Credentials come from the environment.", 2),
        ("s3://shop/../a.csv", "s3://shop/../a.csv cannot be the name of an object.", 2),
    ],
)
def test_what_is_not_there_is_named(commands: CommandLine, source: str, said: str, code: int) -> None:
    """In a sentence."""
    ended = commands.run("import", source)
    assert (ended.code, ended.err) == (code, said + "\n")


def test_no_secret_is_shown(commands: CommandLine) -> None:
    """If access is denied, or nobody answers."""
    commands.environ["AWS_SKIP_SIGNATURE"] = "true"
    ended = commands.run("import", "s3://shop/all.csv")
    assert (ended.code, SECRET in ended.err) == (1, False)
    assert ended.err == "S3 denies the access to s3://shop/all.csv. Credentials come from the environment.\n"
