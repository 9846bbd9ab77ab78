"""The demonstration: real data through the whole system, on this machine and in a home of its own."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reckoner.producer.client.answers import JobReport
from reckoner.producer.client.asking import no_good_end
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.local import LocalSystem
from reckoner.shared.defaults import IN_FLIGHT
from reckoner.shared.errors import FlowFailedError, MissingExtraError, SourceError
from reckoner.shared.interpreter import module_command
from reckoner.shared.settings import FILE_VARIABLE, VARIABLE_PREFIX, Settings
from reckoner.shared.store.location import open_store
from reckoner.shared.store.model_config import ModelConfig

if TYPE_CHECKING:
    from reckoner.producer.importing import ImportReport
    from reckoner.shared.flows.run_state import Run
    from reckoner.shared.serving.results import Answer

WORKERS = 2
# Small blocks for a small set of people, so that both workers are seen to take their share.
BLOCK_SIZE = 50
# Somebody with a taste, who came back for each of their 46 films.
USER = "601"
WATCHED = 8
LOOK_S = 0.02


class Stage(Protocol):
    """One stage on its way."""

    def update(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` are done; a total of None is not known yet."""

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Show something else that is done first, under another name and in another unit."""

    def tell(self, sentence: str) -> None:
        """Say what the stage did, when it has ended."""


# Shows a stage, of which it is told the name and the unit that it is counted in, until the block ends.
Stages = Callable[[str, str], AbstractContextManager[Stage]]


@dataclass(frozen=True)
class Demonstration:
    """What there is to see at the end."""

    watched: list[str]
    """What the user watched last, the latest first."""
    answer: "Answer"
    job: JobReport
    run: "Run"


class Demo:
    """The processes of a demonstration: one that writes the data, a server, and workers, all started at once.

    Everything is under `home`, and what somebody has set for a system of their own is not heeded. Leaving it ends them.
    `look` is called again and again while the server starts; what it raises ends the start. Entering it raises
    MissingExtraError without the server's package, and EmbeddedServerError when the server does not start.
    """

    def __init__(self, home: Path, look: Callable[[], object]) -> None:
        self._settings = Settings(home=str(home))
        self._home = home
        self._csv = home / "movielens.csv"
        self._log = home / "workers.log"
        self._look = look
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Demo":
        environ = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLE_PREFIX)}
        environ |= {f"{VARIABLE_PREFIX}HOME": self._settings.home, FILE_VARIABLE: os.devnull}
        with contextlib.ExitStack() as stack:
            self._data = stack.enter_context(_writing(self._csv, environ))
            log = stack.enter_context(self._log.open("wb"))
            self._system = stack.enter_context(LocalSystem(self._home, WORKERS, environ, log, lambda _: self._look()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    async def run(self, stages: Stages) -> Demonstration:
        """Import, fit, compute one user's list and then everybody's.

        Raises:
            ReckonerError: something failed.
        """
        return await self._system.guard(self._run(stages))

    async def _run(self, stages: Stages) -> Demonstration:
        with stages("Importing the ratings", "rows") as stage:
            report = await self._import(stage)
            stage.tell(f"imported {report.interactions:,} ratings of {report.items:,} films by {report.users:,} people")
        with stages("Starting the workers", "workers") as stage:
            await self._system.ready(self._settings.prefix, stage.show)
            stage.tell(f"an embedded Valkey and {WORKERS} worker processes are ready")
        watched = await asyncio.to_thread(self._watched, report.snapshot_id)
        settings = self._settings
        async with Reckoner(self._system.url, prefix=settings.prefix) as reckoner:
            with stages("Building the model", "chunk tasks") as stage:
                await self._fit(reckoner, report.snapshot_id, stage)
            with stages(f"The list of user {USER}", "chunk tasks") as stage:
                job, answer = await self._one_user(reckoner)
                stage.tell(f"computed the list of user {USER}")
            with stages("Everybody's list", "users") as stage:
                run = await self._everybody(reckoner, stage)
            return Demonstration(watched, answer, job, run)

    async def _import(self, stage: Stage) -> "ImportReport":
        # Both take half a second: the import of pandas here, and the data's process.
        await asyncio.gather(asyncio.to_thread(_load_importing), self._written())
        from reckoner.producer.importing import import_interactions

        store = open_store(self._settings.store_location)
        return await asyncio.to_thread(import_interactions, self._csv, store, progress=stage.update)

    async def _written(self) -> None:
        # Not waited for in a thread, which Ctrl-C could not end.
        while self._data.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(LOOK_S)
        if self._data.returncode != 0:
            assert self._data.stderr is not None
            reason = self._data.stderr.read().strip() or f"Its process ended with {self._data.returncode}."
            raise SourceError(f"The demonstration has no data. {reason}")

    def _watched(self, snapshot_id: str) -> list[str]:
        from reckoner.shared.store.snapshots import open_snapshot

        snapshot = open_snapshot(open_store(self._settings.store_location).fetch("snapshots", snapshot_id))
        user = snapshot.users.find(USER)
        if user is None or snapshot.user_times is None:
            return []
        rows = range(int(snapshot.user_ptr[user]), int(snapshot.user_ptr[user + 1]))
        latest = sorted(rows, key=snapshot.user_times.__getitem__, reverse=True)[:WATCHED]
        items = [int(snapshot.user_items[row]) for row in latest]
        return [snapshot.title(item) or snapshot.items[item] for item in items]

    async def _fit(self, reckoner: Reckoner, snapshot_id: str, stage: Stage) -> None:
        job, _ = await reckoner.operator.fit(snapshot_id, ModelConfig(), self._settings.list_length)
        report = await _ended(reckoner, job, stage)
        stage.tell(f"built the model on the workers, in {report.flow.tasks} chunk tasks")

    async def _one_user(self, reckoner: Reckoner) -> "tuple[JobReport, Answer]":
        asked = await reckoner.enqueue(USER, lane="click")
        assert asked.job is not None
        async for _ in reckoner.wait([asked.job]):
            pass
        report = await _ended(reckoner, asked.job, None)
        return report, await reckoner.get(USER)

    async def _everybody(self, reckoner: Reckoner, stage: Stage) -> "Run":
        run_id, _ = await reckoner.operator.start_run(BLOCK_SIZE, IN_FLIGHT)
        async for report in reckoner.operator.follow_run(run_id):
            run = report.run
            stage.update(report.users_done, run.users)
        if run.outcome != "passed":
            raise FlowFailedError(f"The run over everybody ended as {run.outcome}.")
        stage.tell(f"computed everybody's list: {run.users:,} users")
        return run


@contextlib.contextmanager
def _writing(path: Path, environ: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """The process that writes the data to `path`, which a block that is left early does not wait for."""
    process = subprocess.Popen(
        module_command("reckoner.producer.trial.demo_data", str(path)),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A session of its own: Ctrl-C reaches the demonstration alone.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _load_importing() -> None:
    try:
        import_module("reckoner.producer.importing")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"The demonstration needs {error.name}, which is not installed: pip install 'ready-reckoner[demo]'."
        ) from error


async def _ended(reckoner: Reckoner, job: str, stage: Stage | None) -> JobReport:
    """Follow a job to its good end.

    Raises:
        FlowFailedError: it came to another one.
    """
    async for report in reckoner.follow(job):
        if stage is not None:
            stage.update(report.tasks_done, report.flow.tasks or None)
    if report.flow.state != "done":
        raise no_good_end("A job", report.flow)
    return report
