"""The fingerprint of a night's source changes with any of its files."""

import os
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from reckoner.producer.cli.application import app
from reckoner.workers.night.importing import FLAGS, fingerprint, only_events_are_new


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of parts in folders."""
    for number in (1, 2):
        part = tmp_path / "all parts" / f"date={number}" / "part.csv"
        part.parent.mkdir(parents=True)
        part.write_text("user,item\n")
    return tmp_path / "all parts"


@pytest.mark.parametrize("form", ["folder", "pattern", "files", "files after an option", "another file first", "items"])
def test_any_file_counts(tmp_path: Path, folder: Path, form: str) -> None:
    """Wherever it is named."""
    (tmp_path / "a.csv").write_text("user,item\n")
    first, last = (str(folder / f"date={number}" / "part.csv") for number in (1, 2))
    words = {
        "folder": [str(folder), "--user", "who"],
        "pattern": [f"{folder}/*/*.csv"],
        "files": [first, last],
        "files after an option": [first, "--user", "who", last],
        "another file first": [str(tmp_path / "a.csv"), str(folder)],
        "items": [first, "--items", last],
    }[form]
    before = fingerprint(shlex.join(words))
    assert before
    assert before == fingerprint(shlex.join(words))
    assert before != fingerprint(shlex.join([*words, "--force"]))
    os.utime(last, ns=(1, 1))
    after = fingerprint(shlex.join(words))
    assert after not in ("", before)
    if form in ("folder", "pattern"):
        (folder / "date=2" / "part-2.csv").write_text("user,item\n")
        assert fingerprint(shlex.join(words)) not in ("", before, after)


def test_what_has_no_lasting_identity_has_none(tmp_path: Path, folder: Path) -> None:
    """Objects in S3, pipes, databases, what is not there, and what is no command line."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "none").mkdir()
    file = shlex.quote(f"{folder}/date=1/part.csv")
    for arguments in (
        "s3://shop/a.csv",
        f"{file} s3://shop/a.csv",
        str(tmp_path / "pipe"),
        f"{file} {tmp_path / 'pipe'}",
        "postgresql://shop --query 'select 1'",
        "nowhere.csv",
        str(tmp_path / "none"),
        "'",
        "",
        "a\0b",
    ):
        assert fingerprint(arguments) == "", arguments
    assert fingerprint(file)
    assert fingerprint(f"{file} --items={file}")
    assert fingerprint(f"{file} --items s3://a/b.csv") == ""
    assert fingerprint(f"{file} --items") == ""


def test_options_and_their_values_are_no_sources(tmp_path: Path) -> None:
    """A file of rejects is written anew each night, and a separator may be a folder's name."""
    source, rejects = tmp_path / "a.csv", tmp_path / "r.csv"
    source.write_text("user,item\na,b\n")
    rejects.write_text("1")
    arguments = f"{source} --append --rejects {rejects} --separator / --quote=none"
    before = fingerprint(arguments)
    assert before
    rejects.write_text("another")
    assert fingerprint(arguments) == before
    source.write_text("user,item\na,b\nc,d\n")
    assert fingerprint(arguments) != before


def test_a_changed_table_of_event_types_is_another_source(tmp_path: Path) -> None:
    """Its weights are those of the rows; what has no identity by itself gets none by them."""
    (tmp_path / "a.csv").write_text("user,item\n")
    arguments = f"{tmp_path / 'a.csv'} --type event"
    found = [fingerprint(arguments, types) for types in ("", '{"view": {"weight": 1}}', '{"view": {"weight": 2}}')]
    assert len({*found, ""}) == 4
    assert fingerprint("nowhere.csv", "{}") == ""


def test_each_option_without_a_value_is_known() -> None:
    """The value of any other one is skipped."""
    options = get_command(app).commands["import"].params  # type: ignore[attr-defined]
    flags = [option for option in options if getattr(option, "is_flag", False)]
    names = {name for option in flags for name in (*option.opts, *option.secondary_opts)}
    assert names - {"--help"} == set(FLAGS)


def test_the_last_event_counts_where_events_are_imported(tmp_path: Path) -> None:
    """Beside files or alone, and where the source has them; not beside what has no identity, nor elsewhere."""
    file = tmp_path / "a.csv"
    file.write_text("user,item\n")
    for arguments in ("--events", f"{file} --events", f"{file} --append --events", f"{file} --source-has-events"):
        found = [fingerprint(arguments, "", event) for event in ("1-0", "1-0", "2-0")]
        assert (found[0] == found[1], len({*found, ""})) == (True, 3)
    assert fingerprint(f"{file} --append", "", "1-0") == fingerprint(f"{file} --append", "", "2-0")
    assert fingerprint("s3://shop/a.csv --events", "", "1-0") == fingerprint("nowhere.csv --events", "", "1-0") == ""


def test_events_alone_are_new_where_no_file_has_changed(tmp_path: Path) -> None:
    """Of an import that appends both."""
    file = tmp_path / "a.csv"
    file.write_text("user,item\n")
    arguments = f"{file} --append --events"
    before, now = (fingerprint(arguments, "", event) for event in ("1-0", "2-0"))
    assert only_events_are_new(arguments, now, before)
    assert not only_events_are_new(arguments, now, "")
    assert not only_events_are_new(arguments, "", "")
    assert not only_events_are_new(arguments, now, fingerprint(arguments, "{}", "1-0"))
    os.utime(file, ns=(1, 1))
    assert not only_events_are_new(arguments, fingerprint(arguments, "", "2-0"), before)
    whole = f"{file} --events"
    assert not only_events_are_new(whole, *(fingerprint(whole, "", event) for event in ("2-0", "1-0")))
