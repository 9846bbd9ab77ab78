"""The data of the night's benchmark: `reckoner synth` and `reckoner import`, once for all rounds."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reckoner.producer.trial.synthesis import LIKE, Size
from reckoner.shared.interpreter import module_command
from reckoner.shared.store.location import open_store
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.models import KIND as MODELS
from reckoner.shared.store.snapshots import KIND
from tests.benchmarks.frame import WrongAnswerError
from tests.root import ROOT

# The rows of waits need users, but no kernels.
MANY_USERS = Size(users=20_000, items=2_000, interactions=200_000)


@dataclass(frozen=True)
class Shapes:
    """The sizes of all data sets.

    `everybody` has a few items with long columns. `sparse` is as large as RetailRocket's views, with a fourth of the
    items of `wide`. `fourfold` has four times the interactions of `everybody`.
    """

    everybody: Size
    sparse: Size
    wide: Size
    fourfold: Size
    many_users: Size = MANY_USERS


SHAPES: Mapping[str, Shapes] = {
    "ml-20m": Shapes(
        everybody=LIKE["ml-20m"],
        sparse=Size(users=1_400_000, items=233_916, interactions=2_100_000),
        wide=Size(users=1_400_000, items=734_300, interactions=2_000_000),
        fourfold=Size(users=554_000, items=26_744, interactions=80_000_000),
    ),
    # For trying.
    "ml-1m": Shapes(
        everybody=LIKE["ml-1m"],
        sparse=Size(users=70_000, items=11_700, interactions=105_000),
        wide=Size(users=70_000, items=36_700, interactions=100_000),
        fourfold=Size(users=24_160, items=3_706, interactions=4_000_000),
        many_users=Size(users=6_000, items=500, interactions=60_000),
    ),
}


class DataSet:
    """A store with one snapshot."""

    def __init__(self, home: Path, size: Size, snapshot_id: str) -> None:
        self.size = size
        self.snapshot_id = snapshot_id
        self.store_url = store_url(home)
        self.store = open_store(self.store_url)

    @property
    def snapshot(self) -> Path:
        """The folder of the snapshot's arrays."""
        return self.store.fetch(KIND, self.snapshot_id)

    @property
    def model_id(self) -> str:
        """The id of its model as `reckoner fit` makes it."""
        return model_id(self.snapshot_id, ModelConfig())

    @property
    def model(self) -> Path:
        """The folder of that model's arrays. It must exist."""
        return self.store.fetch(MODELS, self.model_id)

    @classmethod
    async def make(cls, home: Path, size: Size) -> "DataSet":
        """Synthesise and import, unless this was done before.

        Raises:
            WrongAnswerError: a command failed.
        """
        if made := open_store(store_url(home)).current_snapshot():
            return cls(home, size, made)
        await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "RECKONER_HOME": str(home),
            "RECKONER_STORE_URL": store_url(home),
        }
        file = home / "made.parquet"
        await asyncio.to_thread(file.unlink, missing_ok=True)
        counts = [f"--{name}={getattr(size, name)}" for name in ("users", "items", "interactions")]
        await command(environ, "synth", str(file), *counts)
        imported = json.loads(await command(environ, "import", str(file), "--json"))
        file.unlink()
        return cls(home, size, imported["snapshot"])


def store_url(home: Path) -> str:
    """The URL of a data set's store."""
    return (home / "store").absolute().as_uri()


async def command(environ: Mapping[str, str], *arguments: str) -> bytes:
    """Run the command line, and kill it if the caller stops waiting; returns its output.

    Raises:
        WrongAnswerError: it failed.
    """
    return await process(module_command("reckoner.producer", *arguments), environ)


async def process(arguments: list[str], environ: Mapping[str, str], **options: Any) -> bytes:
    """Run a program as `command` does."""
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(
        *arguments, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=ROOT, **options
    )
    try:
        told, said = await running.communicate()
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise WrongAnswerError(f"a process ended with {running.returncode}: {' '.join(last)}")
    return told
