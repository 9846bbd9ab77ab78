"""The data of the night's benchmark: `reckoner synth` and `reckoner import`, once for all rounds."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reckoner.producer.trial.interaction_files import write_interactions
from reckoner.producer.trial.synthesis import BEGIN_S, LIKE, Block, Size
from reckoner.shared.interpreter import module_command
from reckoner.shared.store.location import open_store
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.models import KIND as MODELS
from reckoner.shared.store.snapshots import KIND, open_snapshot
from tests.benchmarks.frame import WrongAnswerError
from tests.root import ROOT

SEED = 1
LENGTHS, MOST = 2.65, 4_000
POPULARITY, SHIFT = 0.75, 14
# The rows of waits need users, but no kernels.
MANY_USERS = Size(users=20_000, items=2_000, interactions=200_000)


@dataclass(frozen=True)
class Tails:
    """A shop: most visitors have one item, a few have thousands, and most items have a few visitors.

    The lengths of histories are drawn from a zeta distribution, whose tail falls as k^-LENGTHS, up to `MOST`. An item's
    popularity falls with its rank r as (r + SHIFT)^-POPULARITY, and each item has a visitor. With 1.4 million visitors
    and 233,916 items this is like RetailRocket's views: 1.4 million visitors with 1.5 items on average, the busiest
    with some 3,800, and half of the items with at most four visitors.
    """

    users: int
    items: int

    def blocks(self) -> Iterator[Block]:
        """The interactions; a pair may be there twice, which an import merges."""
        rng = np.random.default_rng(SEED)
        shares = np.cumsum(np.arange(1, MOST + 1) ** -LENGTHS)
        lengths = 1 + np.searchsorted(shares, rng.random(self.users) * shares[-1])
        users = np.repeat(np.arange(1, self.users + 1), lengths)
        popularity = np.cumsum((np.arange(self.items) + SHIFT) ** -POPULARITY)
        items = np.searchsorted(popularity, rng.random(users.size) * popularity[-1])
        items[rng.permutation(users.size)[: self.items]] = np.arange(self.items)
        yield Block(users, 1 + rng.permutation(self.items)[items], BEGIN_S + np.arange(users.size))


@dataclass(frozen=True)
class Shapes:
    """The shapes of all data sets.

    `everybody` has a few items with long columns. `sparse` and `wide` have many items with short ones. `fourfold` has
    four times the interactions of `everybody`.
    """

    everybody: Size
    sparse: Tails
    wide: Tails
    fourfold: Size
    many_users: Size = MANY_USERS


SHAPES: Mapping[str, Shapes] = {
    "ml-20m": Shapes(
        everybody=LIKE["ml-20m"],
        sparse=Tails(users=1_400_000, items=233_916),
        wide=Tails(users=1_250_000, items=734_300),
        fourfold=Size(users=554_000, items=26_744, interactions=80_000_000),
    ),
    # For trying.
    "ml-1m": Shapes(
        everybody=LIKE["ml-1m"],
        sparse=Tails(users=70_000, items=11_700),
        wide=Tails(users=62_500, items=36_700),
        fourfold=Size(users=24_160, items=3_706, interactions=4_000_000),
        many_users=Size(users=6_000, items=500, interactions=60_000),
    ),
}


class DataSet:
    """A home whose store has one snapshot."""

    def __init__(self, home: Path, snapshot_id: str) -> None:
        self.home = home
        self.snapshot_id = snapshot_id
        self.store_url = store_url(home)
        self.store = open_store(self.store_url)
        snapshot = open_snapshot(self.snapshot)
        self.users, self.items, self.interactions = snapshot.n_users, snapshot.n_items, snapshot.user_items.size

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
    async def make(cls, home: Path, shape: Size | Tails) -> "DataSet":
        """Make interactions and import them, unless this was done before.

        Raises:
            WrongAnswerError: a command failed.
        """
        if made := open_store(store_url(home)).current_snapshot():
            return cls(home, made)
        await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
        environ = os.environ | {
            "PYTHONPATH": str(ROOT),
            "RECKONER_HOME": str(home),
            "RECKONER_STORE_URL": store_url(home),
        }
        file = home / "made.parquet"
        await asyncio.to_thread(file.unlink, missing_ok=True)
        if isinstance(shape, Tails):
            await asyncio.to_thread(write_interactions, file, shape.blocks(), lambda _: None)
        else:
            counts = [f"--{name}={getattr(shape, name)}" for name in ("users", "items", "interactions")]
            await command(environ, "synth", str(file), *counts)
        imported = json.loads(await command(environ, "import", str(file), "--json"))
        file.unlink()
        return cls(home, imported["snapshot"])


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
