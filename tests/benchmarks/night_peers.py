"""What the night is compared with: other projects on the same arrays, the kernel alone, bare writes to the server."""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import hiredis
import msgspec
import numpy as np

from reckoner.shared.redis.embedded import EmbeddedServer
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.night_data import DataSet, process
from tests.benchmarks.night_site import MICROSECONDS, Stored, memory_bytes, server_cpu_s, settled
from tests.root import ROOT
from tests.servers import start_server

PYTHON = Path(sys.executable)
PROGRAMS = Path(__file__).absolute().parent
# Commands in one write.
PIPELINED = 500
OK = b"+OK\r\n"
ANSWERS_WITHIN_S = 30.0
# Rows of a peer's answer that are kept: it is not judged here.
SAMPLE = 10


@dataclass(frozen=True)
class Peer:
    """A task of a peer's program with a Python, on a data set: it builds a model, or makes lists with ours."""

    python: Path
    program: str
    task: str
    data: DataSet
    length: int = 0
    """The length of lists, 0 to build a model."""
    processes: int = 2

    async def __call__(self) -> Figures:
        """The seconds of the call, and its CPU time.

        Raises:
            WrongAnswerError: the process failed.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            np.save(folder / "sample.npy", np.arange(SAMPLE))
            options = [f"--snapshot={self.data.snapshot}", f"--sample={folder / 'sample.npy'}", f"--report={folder}"]
            options += [f"--processes={self.processes}"]
            if self.length:
                options += [f"--model={self.data.model}", f"--length={self.length}"]
            await program(self.python, self.program, self.task, *options)
            report: dict[str, float] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return {"s": report["s"], "CPU s": report["CPU s"]}


@dataclass(frozen=True)
class KernelAlone:
    """Scoring all users with reasons and nothing else, in as many processes side by side as there are workers."""

    data: DataSet
    length: int
    processes: int = 2

    async def __call__(self) -> Figures:
        """Its CPU time a user."""
        calls = (program(PYTHON, *self._arguments) for _ in range(self.processes))
        told = [json.loads(lines.splitlines()[-1])["CPU s"] for lines in await asyncio.gather(*calls)]
        return {"workers' µs a user": statistics.mean(told) / self.data.users * MICROSECONDS}

    @property
    def _arguments(self) -> list[str]:
        options = [f"--snapshot={self.data.snapshot}", f"--model={self.data.model}", f"--length={self.length}"]
        return ["call_scoring", *options]

    @contextlib.asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Score meanwhile, as workers do during a run: they slow down what shares their cores and caches."""
        pipe = asyncio.subprocess.PIPE
        command = [str(PYTHON), str(PROGRAMS), *self._arguments, "--for-ever"]
        running = [
            await asyncio.create_subprocess_exec(*command, env=environ(), stdout=pipe, cwd=ROOT)
            for _ in range(self.processes)
        ]
        try:
            for process in running:
                assert process.stdout is not None
                if await process.stdout.readline() != b"up\n":
                    raise WrongAnswerError("the kernel did not start")
            yield
        finally:
            for process in running:
                process.kill()
                await process.wait()


async def program(python: Path, name: str, *arguments: str) -> bytes:
    """Run a program of this folder; returns its output."""
    return await process([str(python), str(PROGRAMS), name, *arguments], environ())


def environ() -> dict[str, str]:
    """This process's variables. No side uses BLAS: its threads are kept out of the way."""
    return os.environ | {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class BareWrites:
    """The same lists, written to a fresh server by pipelined SET with an expiry: as they are, or in format 1.

    `busy` keeps the cores as busy as workers do.
    """

    home: Path
    kept: Mapping[str, Any]
    busy: KernelAlone | None = None
    format_1: bool = False

    async def __call__(self) -> Figures:
        """The server's CPU time and memory a user.

        Raises:
            WrongAnswerError: there are no lists, or the server refused one.
        """
        lists: Stored | None = self.kept.get("lists")
        if not lists:
            raise WrongAnswerError("there are no lists to write")
        if self.format_1:
            lists = {key: in_format_1(key, value) for key, value in lists.items()}
        with start_server(self.home / f"bare-{time.monotonic_ns()}") as server:
            async with self.busy.beside() if self.busy else contextlib.nullcontext():
                memory, cpu_s = memory_bytes(server), server_cpu_s(server)
                await asyncio.to_thread(write, server, lists, self.kept["ttl_s"])
                await settled(server)
                memory, cpu_s = memory_bytes(server) - memory, server_cpu_s(server) - cpu_s
        return {"server's µs a user": cpu_s / len(lists) * MICROSECONDS, "bytes a user": memory / len(lists)}


def write(server: EmbeddedServer, lists: Stored, ttl_s: int) -> None:
    """Write lists with as few system calls as their slices.

    Raises:
        WrongAnswerError: the server refused one.
    """
    # Its stub knows tuples of one part only.
    pack: Callable[[tuple[bytes | str | int, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]
    commands = (pack(("SET", key, value, "EX", ttl_s)) for key, value in lists.items())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWERS_WITHIN_S)
        connection.connect(unquote(server.url.removeprefix("unix://")))
        for some in _slices(commands):
            connection.sendall(b"".join(some))
            wanted, answered = OK * len(some), b""
            while len(answered) < len(wanted):
                answered += connection.recv(len(wanted) - len(answered)) or b"?" * len(wanted)
            if answered != wanted:
                raise WrongAnswerError(f"the server answered {answered[:100]!r}")


def _slices(commands: Iterator[bytes]) -> Iterator[list[bytes]]:
    while some := list(islice(commands, PIPELINED)):
        yield some


def in_format_1(key: bytes, value: bytes) -> bytes:
    """A list as format 1 has it: the generation in the value too, and the names of the parts at each place."""
    decoded = msgspec.json.decode(value)
    if decoded["format"] == 1:
        return value
    # The key ends with `rec:{generation}:{user}`.
    generation = key.partition(b":rec:")[2].partition(b":")[0].decode()
    places = [dict(zip(("item", "score", "because"), place, strict=True)) for place in decoded["items"]]
    return msgspec.json.encode({"format": 1, "generation": generation, "items": places})
