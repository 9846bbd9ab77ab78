"""The help is fast, and every command shows its usage."""

import subprocess
import sys
from inspect import cleandoc, signature
from typing import get_args

import pytest
from typer.models import CommandInfo
from typer.testing import CliRunner

from reckoner.producer.cli.application import app
from reckoner.producer.cli.fit import fit
from reckoner.shared.store.model_config import ModelConfig

COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--help"], prog_name="reckoner", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return result.output


def test_all_commands_are_listed() -> None:
    """The help of the whole names every command with what it does."""
    lines = [line.strip("│ ").split(maxsplit=1) for line in help_of().splitlines()]
    listed = {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in COMMANDS}
    assert sorted(listed) == COMMANDS
    assert {"import", "fit", "enqueue", "get", "batch", "job", "status", "worker", "up", "version"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str) -> None:
    """The example stands on a line of its own and calls the command by its name."""
    examples = [line.strip() for line in help_of(command).splitlines() if "Example: " in line]
    assert len(examples) == 1
    assert examples[0].startswith(f"Example: reckoner {command}")


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.callback.__name__)
def test_no_help_text_breaks_twice(command: CommandInfo) -> None:
    """Its line breaks are kept, so a paragraph of several lines has short ones."""
    for paragraph in cleandoc(command.callback.__doc__ or "").split("\n\n"):
        lines = paragraph.splitlines()
        assert len(lines) == 1 or max(map(len, lines)) <= 78


def test_help_imports_nothing_that_it_does_not_need() -> None:
    """Neither the event loop, Redis, the queue, the wire formats nor the logs are imported to print a help text."""
    program = (
        "import sys; sys.argv = ['reckoner', 'enqueue', '--help']\n"
        "from reckoner.producer.cli import main\n"
        "try:\n    main()\nfinally:\n    print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(done.stderr.strip("[]\n").replace("'", "").split(", "))
    assert "reckoner.producer.cli.enqueue" in modules
    assert modules.isdisjoint(
        {"arq", "redis", "msgspec", "structlog", "asyncio", "numpy", "pandas", "numba", "pyarrow"}
    )


def test_fit_offers_the_similarities_that_there_are() -> None:
    """The choices of the command are those of the configuration."""
    offered = get_args(signature(fit).parameters["similarity"].annotation)[0]
    known = get_args(ModelConfig.__annotations__["similarity"])[0]
    assert get_args(get_args(offered)[0]) == get_args(known)
