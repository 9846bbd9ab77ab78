"""Faults of the store and its files."""

import asyncio
import os
import shutil
from pathlib import Path
from random import Random

from reckoner.shared.store.location import store_directory
from reckoner.shared.store.model_config import model_id
from tests.chaos import Chaos
from tests.commands import CommandLine
from tests.system import synthetic_pairs
from tests.tampering import flip

# How long until somebody applies the remedy of the jobs' error.
HEALED_AFTER_S = (0.0, 1.5)
AWAY_FOR_S = (0.2, 3.0)


def put_a_flipped_bit(directory: Path, rng: Random) -> str:
    """Replace a file by a copy with a flipped bit; returns its name.

    Not in place, so existing maps of the old file, such as the test's own, stay valid.
    """
    path = rng.choice(sorted(directory.glob("*.npy")))
    new = path.with_suffix(".new")
    shutil.copyfile(path, new)
    flip(new, rng.randrange(new.stat().st_size), rng.randrange(8))
    os.replace(new, path)
    return path.name


async def flip_in_model(chaos: Chaos, rng: Random) -> str:
    """Flip a bit of a model, and fit it again later, unless the workers do so before."""
    config, after_s = rng.choice(chaos.truths.configs), rng.uniform(*HEALED_AFTER_S)
    directory = (
        store_directory(chaos.system.settings.store_location) / "models" / model_id(chaos.truths.snapshot, config)
    )
    if not directory.exists():
        return ""

    async def fit() -> None:
        await asyncio.sleep(after_s)
        await chaos.load.fit(config)

    name = put_a_flipped_bit(directory, rng)
    chaos.later(fit())
    return f"{name}, fitted after {after_s:.1f} s"


async def flip_in_snapshot(chaos: Chaos, rng: Random) -> str:
    """Flip a bit of the snapshot, and import it again later."""
    after_s = rng.uniform(*HEALED_AFTER_S)
    directory = store_directory(chaos.system.settings.store_location) / "snapshots" / chaos.truths.snapshot
    if not directory.exists():
        return ""

    async def bring_in() -> None:
        await asyncio.sleep(after_s)
        async with chaos.store_in_use:
            await asyncio.to_thread(chaos.system.import_pairs, synthetic_pairs())

    name = put_a_flipped_bit(directory, rng)
    chaos.later(bring_in())
    return f"{name}, imported after {after_s:.1f} s"


async def take_store_away(chaos: Chaos, rng: Random) -> str:
    """Move the store away for a while, and leave an empty directory or none."""
    lasts_s, leaves_place = rng.uniform(*AWAY_FOR_S), rng.random() < 0.5
    root = store_directory(chaos.system.settings.store_location)
    away = root.with_name("store that is away")
    async with chaos.store_in_use:
        root.rename(away)
        if leaves_place:
            root.mkdir()
        await asyncio.sleep(lasts_s)
        # A worker may have initialised the empty directory.
        shutil.rmtree(root, ignore_errors=True)
        away.rename(root)
    return f"for {lasts_s:.1f} s" + (", an empty place in its stead" if leaves_place else "")


async def use_by_another_prefix(chaos: Chaos, rng: Random) -> str:
    """Try to use the store under another prefix of the same server and home."""
    arguments = rng.choice([("import", str(chaos.system.home / "pairs.csv")), ("fit", "--no-wait"), ("worker",)])
    (chaos.system.home / "pairs.csv").write_text("user,item\na,b\n")
    commands = CommandLine(
        home=chaos.system.home, prefix="another", redis_url=chaos.system.server.url, log_level="WARNING"
    )
    ended = await asyncio.to_thread(commands.run, *arguments)
    # The server may be in trouble too.
    assert ended.code == 1, ended
    assert chaos.truths.snapshot == chaos.system.store.current_snapshot()
    return f"{arguments[0]}: {ended.err.splitlines()[-1][:60]}"
