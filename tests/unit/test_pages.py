"""The pages are true: tables, rooms, files, links and targets exist."""

import re
from pathlib import Path

import msgspec
import pytest

from tests import pages
from tests.pages import PAGES, commands, made_anew, shown_commands
from tests.root import ROOT

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def rooms() -> list[list[str]]:
    """The rows of the README's code map."""
    _, _, section = TEXTS["README.md"].partition("\n## Where everything lives\n")
    lines = section.partition("\n## ")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")][2:]


@pytest.mark.parametrize("page", TEXTS)
def test_a_table_is_as_the_code_has_it(page: str) -> None:
    """Commands and settings come from the code, the night from its results; `make docs` regenerates them."""
    assert made_anew(TEXTS[page]) == TEXTS[page]


def test_the_made_tables_are_in_the_pages() -> None:
    """Each of them once."""
    markers = re.findall(r"^<!-- made by `make docs`: (\w+) -->$", "\n".join(TEXTS.values()), flags=re.MULTILINE)
    assert sorted(markers) == ["commands", "metrics", "night", "problems", "settings", "speed", "workers"]


def test_every_command_has_an_example() -> None:
    """Of that command."""
    for command in commands():
        assert command.examples, command.name
        assert all(re.match(rf"reckoner {command.name}( |$)", example) for example in command.examples), command.name


@pytest.mark.parametrize("cell", [row[0] for row in rooms()])
def test_a_room_is_in_the_tree(cell: str) -> None:
    """A directory ends with a slash."""
    path = ROOT / cell.strip("`")
    assert path.is_dir() if cell.endswith("/`") else path.is_file()


@pytest.mark.parametrize("package", ["producer", "workers", "shared", "tests", "examples"])
def test_no_room_is_left_out(package: str) -> None:
    """Every directory with code has a row."""
    named = {row[0].strip("`/") for row in rooms()}
    found = {path.parent.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
    for room in found - {Path(package)} if package not in named else set():
        assert any(str(part) in named for part in (room, *room.parents)), room


def test_every_file_that_a_room_names_is_there() -> None:
    """In its room or beside it."""
    for room, text in rooms():
        place = ROOT / room.strip("`")
        for name in re.findall(r"`([a-z_]+\.py)`", text):
            assert (place / name).is_file() or (place.parent / name).is_file(), name


@pytest.mark.parametrize("page", TEXTS)
def test_what_a_page_names_is_there(page: str) -> None:
    """Links within the project, file paths, and make targets."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[page]):
        assert (ROOT / page).parent.joinpath(link).exists(), link
    for path in re.findall(r"`((?:tests|docs|examples|shared|workers|producer)/[\w./-]+)`", TEXTS[page]):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"`make ([a-z0-9-]+)", TEXTS[page]):
        assert target in TARGETS, target
    for command in shown_commands(TEXTS[page]):
        if command.startswith("make "):
            assert command.split()[1] in TARGETS, command


@pytest.mark.parametrize("page", TEXTS)
def test_a_table_has_as_many_cells_in_each_row(page: str) -> None:
    """An unescaped bar in a command would end its cell."""
    prose = re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?:^\|.*\|\n)+", prose, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_a_figure_of_the_night_that_is_missing_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missed target stands out; a row without a peer has no ratio."""
    row = {"what": "memory", "value": None, "unit": "MB", "peer": None, "peer_value": None, "ratio": None}
    fit = row | {"what": "fit", "value": 2.0, "unit": "s", "peer": "one", "peer_value": 1234.0, "ratio": 0.5}
    point = {"workers": 2, "users_per_second": 1234.5, "workers_us": 70.25, "server_us": 9.0, "fit_s": None}
    kept = {
        "machine": "a machine",
        "rows": [row | {"target": "at most 1 MB", "met": False}, fit | {"target": "at least 1", "met": True}],
        "scaling": [point | {"server_share": 0.256}],
    }
    (tmp_path / "night.json").write_bytes(msgspec.json.encode(kept))
    monkeypatch.setattr(pages, "NIGHT", tmp_path / "night.json")
    table = pages.night_table()
    assert table.startswith("a machine:\n\n| what |")
    assert "| memory | none |  |  |  | at most 1 MB | **no** |" in table
    assert "| fit | 2 s | one | 1,234 s | 0.50 | at least 1 | yes |" in table
    assert "| 2 | 1,234 | 70.2 µs | 9 µs | 26% | none |" in pages.workers_table()
