"""Every expected end of a command is an exit code and at most one sentence."""

import errno
import gc

import pytest
import redis.exceptions
import typer

from reckoner.producer.cli.edge import run_async, run_to_exit_code
from reckoner.shared.errors import NothingFittedError, ReckonerError, SettingsError


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (NothingFittedError(), 1, "There is no model yet: build one with `reckoner fit`.\n"),
        (SettingsError("RECKONER_X is\nnone."), 2, "RECKONER_X is\\nnone.\n"),
        (ReckonerError("User \x1b[2J failed."), 1, "User \\x1b[2J failed.\n"),
        (redis.exceptions.ConnectionError("Connection lost."), 1, "Redis cannot be reached.\n"),
        (redis.exceptions.ResponseError("ERR no such thing."), 1, "Redis refuses commands (ERR no such thing).\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_a_sentence(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors of ours and of Redis are printed on one line of standard error, with the exit code of their kind."""

    def run() -> None:
        raise error

    assert run_to_exit_code(run) == code
    assert capsys.readouterr() == ("", sentence)


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "No such file", "ours")])
def test_a_mistake_of_ours_is_not_hidden(error: Exception) -> None:
    """An unexpected error keeps its stack trace for debugging."""

    def run() -> None:
        raise error

    with pytest.raises(type(error)):
        run_to_exit_code(run)


def test_ctrl_c_before_the_first_step_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coroutine is closed, so that Python does not warn about it."""

    async def work() -> None:
        raise AssertionError

    def interrupted(_work: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_async(work())
    gc.collect()


def test_a_command_names_its_own_exit_code() -> None:
    """Without an error it is 0, or what the command asked for."""
    app = typer.Typer()

    @app.command()
    def command(code: int) -> None:
        raise typer.Exit(code)

    assert run_to_exit_code(lambda: app(["1"], standalone_mode=False)) == 1
    assert run_to_exit_code(lambda: app(["0"], standalone_mode=False)) == 0
    assert run_to_exit_code(lambda: None) == 0
