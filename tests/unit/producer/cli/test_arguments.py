"""Users come from arguments, files and standard input, each id as it is in the data."""

import io
from pathlib import Path
from typing import Any

import pytest

from reckoner.producer.cli.arguments import read_users
from reckoner.shared.errors import SourceError, UsageError


class Input:
    """Standard input with these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_users_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments first, standard input in place of its dash, then the file; duplicates and order are kept."""
    monkeypatch.setattr("sys.stdin", Input(b"3\n1\n"))
    file = tmp_path / "some üsers"
    file.write_bytes(b"9\n1\n")
    assert read_users(["2", "-", "1"], file) == ["2", "3", "1", "1", "9", "1"]


def test_a_line_is_an_id_with_everything_in_it(tmp_path: Path) -> None:
    """Empty lines, a byte order mark and trailing carriage returns are removed; blanks and other separators stay."""
    file = tmp_path / "users"
    file.write_bytes("\ufeffa b \r\n\n\u2028ü\x85\n\tlast".encode())
    assert read_users(None, file) == ["a b ", "\u2028ü\x85", "\tlast"]


def test_no_argument_is_a_usage_error_and_an_empty_input_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty input gives no users."""
    with pytest.raises(UsageError, match="Give users"):
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


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n2\n"])
def test_a_line_that_is_no_id_is_named(tmp_path: Path, end: bytes) -> None:
    """1,024 bytes are valid, also after a byte order mark."""
    file = tmp_path / "users"
    file.write_bytes(b"\xef\xbb\xbf" + "é".encode() * 512 + end)
    assert read_users(None, file)[0] == "é" * 512
    file.write_bytes(b"1\n\n" + "é".encode() * 512 + b"x" + end)
    with pytest.raises(UsageError, match=r"^The user in line 3 '(\\xe9){40}'\.\.\. is over 1,024 bytes\.$"):
        read_users(None, file)
    with pytest.raises(UsageError, match=r"^The user 'x{40}'\.\.\. is over 1,024 bytes\.$"):
        read_users(["x" * 1025], None)


class Endless(io.RawIOBase):
    """An endless line; fails if megabytes of it are read."""

    read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.read_bytes += len(buffer)
        assert self.read_bytes < 2**20
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


def test_of_a_line_without_an_end_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input may be endless."""
    given = Input(b"")
    monkeypatch.setattr(given, "buffer", io.BufferedReader(Endless()))
    monkeypatch.setattr("sys.stdin", given)
    with pytest.raises(UsageError, match="is over 1,024 bytes"):
        read_users(["-"], None)
