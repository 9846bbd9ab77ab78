"""Users come from arguments, files and standard input, each id as it is in the data."""

import io
from pathlib import Path

import pytest

from producer.cli.users import read_users
from shared.errors import SourceError, UsageError


class Input:
    """Standard input with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_users_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments first, standard input where its dash stands, then the file; nothing is sorted or made distinct."""
    monkeypatch.setattr("sys.stdin", Input(b"3\n1\n"))
    file = tmp_path / "some üsers"
    file.write_bytes(b"9\n1\n")
    assert read_users(["2", "-", "1"], file) == ["2", "3", "1", "1", "9", "1"]


def test_a_line_is_an_id_with_everything_in_it(tmp_path: Path) -> None:
    """Empty lines, a byte order mark and carriage returns at the end go; blanks and other separators stay."""
    file = tmp_path / "users"
    file.write_bytes("\ufeffa b \r\n\n\u2028ü\x85\n\tlast".encode())
    assert read_users(None, file) == ["a b ", "\u2028ü\x85", "\tlast"]


def test_nobody_is_a_usage_error_and_an_empty_input_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming nobody is a slip; a program that had nobody to name is none."""
    with pytest.raises(UsageError, match="Name a user"):
        read_users([], None)
    monkeypatch.setattr("sys.stdin", Input(b""))
    assert read_users(["-"], None) == []


def test_bytes_that_are_no_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says which line, or shows the argument."""
    monkeypatch.setattr("sys.stdin", Input(b"1\n\xff\n"))
    with pytest.raises(SourceError, match="Standard input is not UTF-8 text in line 2"):
        read_users(["-"], None)
    with pytest.raises(UsageError, match=r"The argument \\udcff is not UTF-8 text"):
        read_users(["\udcff"], None)
