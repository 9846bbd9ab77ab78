"""The README says what is there: its settings, its commands and its rooms are the real ones."""

import re
from pathlib import Path

import pytest
from msgspec import inspect

from producer.cli.application import app
from shared.settings import VARIABLE_PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    section = re.split(r"^## ", README, flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading)]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def test_the_settings_are_those_that_are_read() -> None:
    """Names, defaults and descriptions, in the order of the class."""
    information = inspect.type_info(Settings)
    assert isinstance(information, inspect.StructType)
    expected = []
    for field in information.fields:
        assert isinstance(field.type, inspect.Metadata)
        assert field.type.extra_json_schema is not None
        default = f"`{field.default}`" if field.default != "" else ""
        name = f"`{VARIABLE_PREFIX}{field.name.upper()}`"
        expected.append([name, default, field.type.extra_json_schema["description"]])
    assert table("Settings") == expected


def test_the_commands_are_those_that_there_are() -> None:
    """Each once, with an example that calls it."""
    registered = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
    rows = table("Commands")
    assert [name for name, _, _ in rows] == [f"`{name}`" for name in registered]
    for (_, _, example), name in zip(rows, registered, strict=True):
        assert re.match(f"`reckoner {name}[ `]", example)


@pytest.mark.parametrize("cell", [row[0] for row in table("Where everything lives")])
def test_a_room_is_in_the_tree(cell: str) -> None:
    """A directory ends with a slash."""
    path = ROOT / cell.strip("`")
    assert path.is_dir() if cell.endswith("/`") else path.is_file()


@pytest.mark.parametrize("package", ["producer", "workers", "shared", "tests"])
def test_no_room_is_left_out(package: str) -> None:
    """Every directory with code in it has its line."""
    named = {row[0].strip("`/") for row in table("Where everything lives")}
    rooms = {path.parent.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
    for room in rooms - {Path(package)}:
        assert any(str(part) in named for part in (room, *room.parents)), room


def test_every_file_that_is_named_is_there() -> None:
    """Whatever the code map calls a file is one, in its room or beside it."""
    for room, text in table("Where everything lives"):
        place = ROOT / room.strip("`")
        for name in re.findall(r"`([a-z_]+\.py)`", text):
            assert (place / name).is_file() or (place.parent / name).is_file(), name
