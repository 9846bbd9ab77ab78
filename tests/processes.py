"""Our commands as real processes, without the caller's settings."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import psutil

from reckoner.shared.interpreter import module_command
from tests.patience import PATIENCE_S


def environment(**settings: object) -> dict[str, str]:
    """This process's variables without settings, plus `settings` under their full names."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECKONER_")}
    return inherited | {name: str(value) for name, value in settings.items()}


def run(
    module: str, *arguments: str, environ: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of our modules to its end."""
    return subprocess.run(
        module_command(module, *arguments),
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextlib.contextmanager
def started(
    module: str, *arguments: str, environ: Mapping[str, str], log: Path, cwd: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run one of our modules in its own process group, with standard error in `log`, and kill what remains."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            module_command(module, *arguments),
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        yield process
    finally:
        for left in [*descendants(process.pid), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()
        process.stdout.close()


def descendants(pid: int) -> list[psutil.Process]:
    """The children of a process, and their children."""
    try:
        children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def command_of(process: psutil.Process) -> str:
    """A process's command line, empty if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def still_there(processes: list[psutil.Process]) -> list[str]:
    """The command lines of the processes that still run."""
    return [
        command_of(process)
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def without_progress(text: str) -> str:
    """Standard error without the progress lines of a slow start."""
    return re.sub(
        r"^(Starting the workers|Compiling kernels for the first start|Redis is loading its data).*\n",
        "",
        text,
        flags=re.M,
    )


class Process(Protocol):
    """Has an exit code, or None while it runs."""

    def poll(self) -> int | None: ...


def wait_until(holds: Callable[[], object], process: Process | None = None) -> None:
    """Wait until something holds. Fail on a time-out, or when the given process ends."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert process is None or process.poll() is None, f"the process ended with {process and process.poll()}"
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)
