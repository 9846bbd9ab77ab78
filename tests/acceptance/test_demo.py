"""`reckoner demo` as real processes: its output, and that it leaves nothing behind."""

import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.processes import descendants, environment, run, started, still_there, wait_until, without_progress

if TYPE_CHECKING:
    import subprocess

STAGES = {
    "while the server starts": "Ready Reckoner",
    "while the workers start": "imported 100,004 ratings of 9,066 films by 671 people",
    "while the model is built": "an embedded Valkey and 2 worker processes are ready",
    "while lists are computed": "built the model on the workers, in ",
    "while everything ends": "computed the lists of all 671 users",
}


@pytest.fixture
def place() -> Iterator[Path]:
    """The only temporary directory, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def environ(place: Path, tmp_path: Path) -> dict[str, str]:
    """Foreign settings: an unreachable Redis, and a home that must stay untouched."""
    return environment(
        TMPDIR=place,
        XDG_RUNTIME_DIR=place,
        RECKONER_HOME=tmp_path / "their home",
        RECKONER_REDIS_URL="redis://localhost:1",
        RECKONER_STORE_URL="s3://theirs",
        RECKONER_PREFIX="theirs",
        RECKONER_LIST_LENGTH=3,
    )


def wait_for_stage(process: "subprocess.Popen[str]", stage: str) -> None:
    assert process.stdout is not None
    while STAGES[stage] not in process.stdout.readline():
        pass


def test_it_shows_films_recommendations_and_timings(environ: dict[str, str], place: Path, tmp_path: Path) -> None:
    """The user's last films, ten recommendations with scores and reasons, the timings; then all is deleted."""
    ended = run("producer", "demo", environ=environ)
    assert (ended.returncode, without_progress(ended.stderr)) == (0, "")
    for line in STAGES.values():
        assert line in ended.stdout
    watched = ended.stdout.split("recently watched\n")[1].splitlines()
    assert watched[:3] == ["  Dark Knight, The (2008)", "  Slumdog Millionaire (2008)", "  Primer (2004)"]
    places = re.findall(r"^ ?(\d+)   (\S.*\(\d{4}\)) +(0\.\d{4})   (\S.*\(\d{4}\))$", ended.stdout, re.MULTILINE)
    assert [place for place, _, _, _ in places] == [str(place) for place in range(1, 11)]
    assert places[0][1].strip() == "Batman Begins (2005)"
    assert places[0][3] == "Dark Knight, The (2008)"
    scores = [float(score) for _, _, score, _ in places]
    assert scores == sorted(scores, reverse=True)
    assert re.search(r"^User 601's job: 4 chunk tasks, \d+ ms from enqueue to cached$", ended.stdout, re.MULTILINE)
    assert re.search(
        r"^All users: 671 users in 16 jobs, [\d.]+ s, [\d,]+ users per second$", ended.stdout, re.MULTILINE
    )
    assert " import PATH " in ended.stdout
    assert ended.stdout.endswith(
        "\nThis demonstration with its page, until Ctrl-C\n  python -m reckoner.producer demo --page\n"
    )
    assert list(place.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "signum", "code", "more"),
    [
        ("while the server starts", signal.SIGINT, 130, 0),
        ("while the workers start", signal.SIGHUP, 129, 0),
        ("while the model is built", signal.SIGTERM, 143, 3),
        ("while lists are computed", signal.SIGINT, 130, 3),
        ("while everything ends", signal.SIGINT, 130, 0),
    ],
    ids=STAGES,
)
def test_a_signal_leaves_nothing_behind(
    environ: dict[str, str], place: Path, tmp_path: Path, stage: str, signum: signal.Signals, code: int, more: int
) -> None:
    """At any stage, and with more Ctrl-C after it: one sentence, and no process, socket or file."""
    log = tmp_path / "log"
    with started("producer", "demo", environ=environ, log=log) as process:
        wait_for_stage(process, stage)
        if stage == "while the server starts":
            wait_until(lambda: descendants(process.pid))
        processes = descendants(process.pid)
        os.killpg(process.pid, signum)
        for _ in range(more):
            time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_S) == code
        assert still_there(processes) == []
    assert without_progress(log.read_text()) == "Stopped. Everything was removed.\n"
    assert list(place.iterdir()) == []
    assert not (tmp_path / "their home").exists()


def test_no_process_outlives_one_that_was_killed(environ: dict[str, str], tmp_path: Path) -> None:
    """Server and workers end by themselves; files may stay."""
    with started("producer", "demo", environ=environ, log=tmp_path / "log") as process:
        wait_for_stage(process, "while the model is built")
        processes = descendants(process.pid)
        process.kill()
        wait_until(lambda: not still_there(processes))


def test_an_end_of_the_workers_is_reported_with_their_last_log_lines(environ: dict[str, str], tmp_path: Path) -> None:
    """If the workers end, so does the demonstration: one sentence, exit code 1, and no process left."""
    with started("producer", "demo", environ=environ, log=tmp_path / "log") as process:
        wait_for_stage(process, "while the model is built")
        processes = descendants(process.pid)
        (supervisor,) = [p for p in processes if "--processes" in p.cmdline()]
        supervisor.kill()
        assert process.wait(PATIENCE_S) == 1
        wait_until(lambda: not still_there(processes))
    text = without_progress((tmp_path / "log").read_text())
    assert text.startswith("The workers have ended (SIGKILL). Their log ends with: ")
    assert text.count("\n") == 1


def test_the_page_shows_it_until_ctrl_c(environ: dict[str, str], place: Path, tmp_path: Path) -> None:
    """Its data are served until the signal, which is no failure; then all is deleted."""
    log = tmp_path / "log"
    with started("producer", "demo", "--page", environ=environ, log=log) as process:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if line.startswith("serving "))
        answer = httpx.get(f"{url}/v1/users/601/recommendations?n=1").json()
        assert [place["title"] for place in answer["items"]] == ["Batman Begins (2005)"]
        assert httpx.get(url).headers["content-type"] == "text/html; charset=utf-8"
        processes = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert still_there(processes) == []
    said = without_progress(log.read_text())
    assert said.startswith("Who may what: no tokens")
    assert said.endswith("Stopped. Everything was removed.\n")
    assert list(place.iterdir()) == []
