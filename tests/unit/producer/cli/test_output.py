"""The output keeps its layout for any ids."""

import io
import json
import re

import pytest

from reckoner.producer.cli.output import print_facts, print_json, print_nonempty_columns, print_table, progress_bar
from tests.terminals import SWEEP, moving


def test_a_column_may_stay_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id that is broken over two lines cannot be copied."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("id", "what"), [("0123456789abcdef", "many words in a cell")], whole=("id",))
    shown = capsys.readouterr().out
    assert "0123456789abcdef" in shown
    assert "many words" not in shown, "the other column gives way"


def test_json_keeps_its_values_and_moves_no_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    """Control characters are escaped; a path that is not UTF-8 is printed too."""
    for value in ({"title": SWEEP, "n": 0.1}, {"path": "a\udcff"}):
        print_json(value)
        shown = capfd.readouterr().out
        assert json.loads(shown) == value
        assert moving(shown) == []


def test_a_table_in_a_pipe_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A row with the longest id is one line, and markup in it is ignored."""
    long = "[red]" + "x" * 1000
    print_table(("id", "n"), [(long, "1"), ("[/red]\n", "22")], numbers=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[2].split() == [long, "1"]
    assert lines[3].split() == ["[/red]\\n", "22"]
    assert lines[2].endswith(" 1")


def test_a_column_without_contents_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Its heading is omitted too; without rows nothing is printed."""
    print_nonempty_columns(("id", "title", "n"), [("a", "", "1"), ("b", "", "")], numbers=("n",))
    assert [line.split() for line in capsys.readouterr().out.splitlines()][::2] == [["id", "n"], ["a", "1"]]
    print_nonempty_columns(("id",), [])
    assert capsys.readouterr().out == ""


def test_facts_stand_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Names are followed by their values in one column."""
    print_facts([("a", "1"), ("long", "2\n3")])
    assert capsys.readouterr().out == "a     1\nlong  2\\n3\n"


def test_a_bar_is_silent_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gets the messages, but no bar."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("Working", "tasks") as bar:
        bar.update(1, None)
        bar.update(1, 2)
        bar.say("No worker\x07.")
    assert stream.getvalue() == "No worker\\x07.\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_bar_slow_progress_is_printed_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second, then every ten; a fast step prints nothing."""
    stream, clock = io.StringIO(), [0.0]
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with progress_bar("Working", "tasks") as bar:
        for now, what, total in [(1.0, "Short", None), (1.9, "Short", None), (2.0, "Long", None), (2.9, "Long", None)]:
            clock[0] = now
            bar.show(what, "parts", 7, total)
        assert stream.getvalue() == ""
        for second in range(3, 14):
            clock[0] = second
            bar.show("Long", "parts", second, None if second < 13 else 1300)
    assert stream.getvalue() == "Long: 3 so far\nLong: 13 of 1,300 parts\n"


def test_a_bar_on_a_terminal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there is a bar with its count, and messages have their own lines."""

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Working", "tasks") as bar:
        bar.update(3, 7)
        bar.say("[bold]Said[/bold].")
    assert "3/7" in stream.getvalue()
    assert "[bold]Said[/bold].\n" in stream.getvalue()


def test_a_bar_shows_another_step_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own name, unit and total, which may be unknown."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("Working", "tasks") as bar:
        bar.show("Working", "tasks", 1, 2)
        bar.show("Preparing", "parts", 4, None)
        bar.show("Preparing", "parts", 5, None)
    last = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).split("\x1b[2K")[-2]
    assert re.match(r"Preparing .* 5/\? parts", last)
