"""The shapes of public data sets are imported by one command each, as docs/importing.md says."""

import contextlib
import re
import shlex
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.store.location import open_store
from tests import shapes
from tests.commands import CommandLine, Ended
from tests.other_shapes import OTHER_SHAPES
from tests.pages import shown_commands
from tests.root import ROOT
from tests.shapes import SHAPES, Shape
from tests.snapshots import current, interactions, titles

# The commands of the page, and below some of them lines of what is printed.
PAGE = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^(```sh\n.*?^```)$(?:\n\n^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    (command, printed.splitlines()) for shell, printed in SHOWN.findall(PAGE) for command in shown_commands(shell)
]
# A command that fails, or refuses, and what it says must be done.
REFUSED = [
    ("combined_data_1.txt", shapes.NETFLIX, "", "1: and stands for the rows below it. Each row must have its user"),
    ("jester.csv", shapes.JESTER, "", "jester.csv seems to be a matrix: its first line has 101 numbers"),
    ("ratings.txt", shapes.SPARK, "", "give the columns by number, such as --user 1 --item 2 --no-header"),
    ("review.tsv", shapes.GOOGLE, "--item gmap_id", "the user is a rounded number; write all its digits"),
    ("douban.csv", shapes.DOUBAN, "--user 用户 --item 电影", "read as latin-1. Use --encoding"),
    ("sales.csv", shapes.RUSSIAN, "--user пользователь --item товар", "such as --encoding cp1251 or gb18030"),
    (
        "BX-Book-Ratings.csv",
        shapes.BOOK_RATINGS + b'"1";"1234567890";"0"\r\n' * 30,
        "--user User-ID --item ISBN --weight Book-Rating",
        "35 rows have no weight above zero. To have them too, import without --weight: each row then weighs 1. To "
        "leave them out, add --max-left-out 0.68.\nRefused: 67.3% of the rows are left out",
    ),
]


def run(place: Path, files: dict[str, bytes], command: str) -> Ended:
    """Write the files and run the command beside them, with the output of what is before a bar."""
    for name, data in files.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
    filtered, _, ours = command.rpartition(" | ")
    if filtered and shutil.which(filtered.partition(" ")[0]) is None:
        pytest.skip(f"needs {filtered.partition(' ')[0]}")
    given = subprocess.run(["bash", "-c", filtered], cwd=place, capture_output=True, check=True).stdout
    program, *arguments = shlex.split(ours)
    assert program == "reckoner"
    with contextlib.chdir(place):
        return CommandLine(home=place / "home").call(*arguments, given=given)


@pytest.mark.parametrize("shape", SHAPES + OTHER_SHAPES, ids=lambda shape: shape.name)
def test_a_shape_is_imported_by_one_command(tmp_path: Path, shape: Shape) -> None:
    """What is printed, and what is in the snapshot."""
    ended = run(tmp_path, dict(shape.files), shape.command)
    assert (ended.code, ended.err.splitlines()) == (0, [*shape.says])
    facts = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert (facts["holds"], facts["rows"], facts.get("read", "")) == (shape.holds, shape.rows, shape.read)
    snapshot = current(open_store((tmp_path / "home" / "store").as_uri()))
    found = interactions(snapshot)
    for pair, (weight, time) in shape.some.items():
        assert found[pair][0] == pytest.approx(weight)
        assert found[pair][1] == time
    found_titles = titles(snapshot) if shape.titles else {}
    assert {item: found_titles.get(item) for item in shape.titles} == shape.titles


def fits(name: str, words: set[str]) -> bool:
    """Whether one of the words of a command names the file, its directory, or a pattern of it."""
    return any(fnmatch(name, word) or name.partition("/")[0] == word for word in words)


@pytest.mark.parametrize(("command", "printed"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_an_example_of_the_page_works_as_described(tmp_path: Path, command: str, printed: list[str]) -> None:
    """On the file of the shape that has its name."""
    words = {word.strip("/").removeprefix("sqlite:///") for word in shlex.split(command)}
    files = {name: data for shape in SHAPES + OTHER_SHAPES for name, data in shape.files.items() if fits(name, words)}
    ended = run(tmp_path, files, command)
    assert ended.code == 0, ended.err
    assert set(printed) <= {*ended.out.splitlines(), *ended.err.splitlines()}


def test_the_python_of_the_page_works_as_described(tmp_path: Path) -> None:
    """On the first file of the page. The example of an export needs workers and has its own test."""
    (tmp_path / "ratings.csv").write_bytes(shapes.RATINGS)
    names: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        for program in PYTHON.findall(PAGE):
            if "await" not in program:
                exec(program.replace("file:///srv", tmp_path.as_uri()), names)
    assert names["report"].interactions == 20
    assert interactions(current(names["store"]))["15", "264"] == (5.0, 1700000004000)


@pytest.mark.parametrize(("name", "data", "options", "said"), REFUSED, ids=[name for name, *_ in REFUSED])
def test_where_a_command_does_not_do_the_sentence_says_what_does(
    tmp_path: Path, name: str, data: bytes, options: str, said: str
) -> None:
    """With exit code 1; nothing is current."""
    ended = run(tmp_path, {name: data}, f"reckoner import {name} {options}")
    assert (ended.code, said in ended.err) == (1, True), ended.err
    assert open_store((tmp_path / "home" / "store").as_uri()).current_snapshot() is None


def test_the_advice_for_ratings_of_zero_helps(tmp_path: Path) -> None:
    """Both ways import the rows."""
    *_, (name, data, options, _) = REFUSED
    for advised in (options.partition(" --weight")[0], f"{options} --max-left-out 0.68"):
        assert run(tmp_path, {name: data}, f"reckoner import {name} {advised}").code == 0
