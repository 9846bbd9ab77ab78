"""The demonstration: the whole system on real data, in a temporary home."""

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
from reckoner.producer.client.asking import job_error
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.local import LocalSystem
from reckoner.shared.errors import FlowFailedError, MissingExtraError, SourceError
from reckoner.shared.interpreter import module_command
from reckoner.shared.settings import FILE_VARIABLE, VARIABLE_PREFIX, Settings
from reckoner.shared.store.fit_options import default_model, recency_of
from reckoner.shared.store.location import store_of
from reckoner.shared.store.verification import verification_cache

if TYPE_CHECKING:
    from reckoner.producer.importing import ImportReport
    from reckoner.shared.flows.run_state import Run
    from reckoner.shared.serving.results import Answer

WORKERS = 2
# A user with clear tastes, who rated 46 films over time.
USER = "601"
WATCHED = 8
LOOK_S = 0.02


class Stage(Protocol):
    """A stage of the demonstration."""

    def update(self, done: int, total: int | None) -> None:
        """Show the progress; `total` is None while unknown."""

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Show the progress of another step."""

    def finish(self, summary: str) -> None:
        """Set the line that is printed when the stage has ended."""


# Shows a stage with this name and unit during the block.
Stages = Callable[[str, str], AbstractContextManager[Stage]]


@dataclass(frozen=True)
class Demonstration:
    """The results to print at the end."""

    watched: list[str]
    """The films that the user watched last, latest first."""
    answer: "Answer"
    job: JobReport
    run: "Run"


class Demo:
    """The processes of a demonstration, all started at once: a writer of the data, a server, and workers.

    Everything is under `home`; the user's own settings are ignored. Leaving it ends the processes. `look` is called
    repeatedly while the server starts; it may raise to stop. Entering raises MissingExtraError without the server's
    package, and EmbeddedServerError if the server does not start.
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

    @property
    def settings(self) -> Settings:
        """The settings of the demonstration."""
        return self._settings

    @property
    def url(self) -> str:
        """The URL of its Redis."""
        return self._system.url

    def check(self) -> None:
        """Check that server and workers run; raises as LocalSystem.check does."""
        self._system.check()

    async def run(self, stages: Stages) -> Demonstration:
        """Import, fit, compute one user's list and then all lists.

        Raises:
            ReckonerError: something failed.
        """
        return await self._system.watch(self._run(stages))

    async def _run(self, stages: Stages) -> Demonstration:
        with stages("Importing the ratings", "rows") as stage:
            report = await self._import(stage)
            stage.finish(
                f"imported {report.interactions:,} ratings of {report.items:,} films by {report.users:,} people"
            )
        with stages("Starting the workers", "workers") as stage:
            await self._system.ready(self._settings.prefix, stage.show)
            stage.finish(f"an embedded Valkey and {WORKERS} worker processes are ready")
        watched = await asyncio.to_thread(self._watched, report.snapshot_id)
        settings = self._settings
        async with Reckoner(self._system.url, prefix=settings.prefix) as reckoner:
            with stages("Building the model", "chunk tasks") as stage:
                await self._fit(reckoner, report.snapshot_id, stage)
            with stages(f"The list of user {USER}", "chunk tasks") as stage:
                job, answer = await self._one_user(reckoner)
                stage.finish(f"computed the list of user {USER}")
            with stages("Computing all lists", "users") as stage:
                run = await self._all_users(reckoner, stage)
            return Demonstration(watched, answer, job, run)

    async def _import(self, stage: Stage) -> "ImportReport":
        # In parallel: importing pandas and writing the data take half a second each.
        await asyncio.gather(asyncio.to_thread(_load_importing), self._written())
        from reckoner.producer.importing import import_interactions

        store, verified = store_of(self._settings), verification_cache(self._settings.home_path)
        return await asyncio.to_thread(import_interactions, self._csv, store, verified=verified, progress=stage.update)

    async def _written(self) -> None:
        # Polled, since Ctrl-C could not end a waiting thread.
        while self._data.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(LOOK_S)
        if self._data.returncode != 0:
            assert self._data.stderr is not None
            reason = self._data.stderr.read().strip() or f"The process ended with code {self._data.returncode}."
            raise SourceError(f"The demonstration's data cannot be written. {reason}")

    def _watched(self, snapshot_id: str) -> list[str]:
        from reckoner.shared.store.snapshots import open_snapshot

        snapshot = open_snapshot(store_of(self._settings).fetch("snapshots", snapshot_id))
        user = snapshot.users.find(USER)
        if user is None or snapshot.user_times is None:
            return []
        rows = range(int(snapshot.user_ptr[user]), int(snapshot.user_ptr[user + 1]))
        latest = sorted(rows, key=snapshot.user_times.__getitem__, reverse=True)[:WATCHED]
        items = [int(snapshot.user_items[row]) for row in latest]
        return [snapshot.title(item) or snapshot.items[item] for item in items]

    async def _fit(self, reckoner: Reckoner, snapshot_id: str, stage: Stage) -> None:
        store, length = store_of(self._settings), self._settings.list_length
        config, recency = default_model(store.fetch("snapshots", snapshot_id)).config, recency_of(store, snapshot_id)
        job, _ = await reckoner.operator.fit(snapshot_id, config, length, recency=recency, spare=self._settings.spare)
        report = await _ended(reckoner, job, stage)
        stage.finish(f"built the model on the workers, in {report.flow.tasks} chunk tasks")

    async def _one_user(self, reckoner: Reckoner) -> "tuple[JobReport, Answer]":
        asked = await reckoner.enqueue(USER, lane="click")
        assert asked.job is not None
        async for _ in reckoner.wait([asked.job]):
            pass
        report = await _ended(reckoner, asked.job, None)
        return report, await reckoner.get(USER)

    async def _all_users(self, reckoner: Reckoner, stage: Stage) -> "Run":
        run_id, _ = await reckoner.operator.start_run()
        async for report in reckoner.operator.follow_run(run_id):
            run = report.run
            stage.update(report.users_done, run.users)
        if run.outcome != "passed":
            raise FlowFailedError(f"The run ended as {run.outcome}.")
        stage.finish(f"computed the lists of all {run.users:,} users")
        return run


@contextlib.contextmanager
def _writing(path: Path, environ: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that writes the data to `path`; leaving the block kills it."""
    process = subprocess.Popen(
        module_command("reckoner.producer.trial.demo_data", str(path)),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A new session: Ctrl-C reaches the demonstration only.
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
    """Follow a job until it succeeds.

    Raises:
        FlowFailedError: it failed or was cancelled.
    """
    async for report in reckoner.follow(job):
        if stage is not None:
            stage.update(report.tasks_done, report.flow.tasks or None)
    if report.flow.state != "done":
        raise job_error("A job", report.flow)
    return report
