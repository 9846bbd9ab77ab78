"""`reckoner doctor`: checks the system and says how to fix what is wrong."""

from typing import TYPE_CHECKING

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import run_async
from reckoner.producer.cli.output import print_result, progress_bar

if TYPE_CHECKING:
    from reckoner.producer.doctor.examination import Examination
    from reckoner.producer.doctor.findings import Finding

NAME_WIDTH = len("dead letters")


def doctor(as_json: AsJson = False) -> None:
    """Check settings, Redis, workers and store.

    Each line is `ok`, `wrong` with a remedy, or `unknown` if the check could
    not be made. The exit code is 1 if a line is `wrong`. It writes a key and
    a file and removes them, and it reads all artifacts in use.

    Example: reckoner doctor
    """
    from reckoner.producer.doctor.examination import Examination
    from reckoner.producer.doctor.findings import Finding
    from reckoner.shared.errors import SettingsError
    from reckoner.shared.settings import read_settings

    try:
        examination = Examination(read_settings())
    except SettingsError as error:
        _print(Finding("settings", "wrong", str(error)), as_json)
        raise typer.Exit(1) from error
    _print(examination.settings(), as_json)
    well = run_async(_examine_redis(examination, as_json))
    with progress_bar("Reading the artifacts", "MiB") as bar:
        lines = list(examination.store(lambda done, total: bar.update(done >> 20, total >> 20)))
    for line in lines:
        _print(line, as_json)
    if not well or any(line.state == "wrong" for line in lines):
        raise typer.Exit(1)


async def _examine_redis(examination: "Examination", as_json: bool) -> bool:
    well = True
    async for line in examination.redis():
        _print(line, as_json)
        well = well and line.state != "wrong"
    return well


def _print(line: "Finding", as_json: bool) -> None:
    record = {"check": line.check, "state": line.state, "message": line.message}
    print_result(record, f"{line.state:<7}  {line.check:<{NAME_WIDTH}}  {line.message}", as_json)
