"""Files of the store come to harm while they are in use."""

import asyncio
import os
import shutil
from pathlib import Path
from random import Random

from shared.model_config import model_id
from shared.store import store_directory
from tests.chaos import Chaos
from tests.system import synthetic_pairs
from tests.tampering import flip

# After how long somebody does what the sentence says that jobs end with.
HEALED_AFTER_S = (0.0, 1.5)


def put_a_flipped_bit(directory: Path, rng: Random) -> str:
    """Put in the place of a file one that differs in a bit; returns what it is called.

    Not in place, so that what has the old one mapped, as the test itself may have, reads on.
    """
    path = rng.choice(sorted(directory.glob("*.npy")))
    new = path.with_suffix(".new")
    shutil.copyfile(path, new)
    flip(new, rng.randrange(new.stat().st_size), rng.randrange(8))
    os.replace(new, path)
    return path.name


async def flip_in_model(chaos: Chaos, rng: Random) -> str:
    """Flip a bit of a model, which somebody fits again later, unless the workers do so before."""
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
    """Flip a bit of the snapshot, which somebody imports again later."""
    after_s = rng.uniform(*HEALED_AFTER_S)
    directory = store_directory(chaos.system.settings.store_location) / "snapshots" / chaos.truths.snapshot
    if not directory.exists():
        return ""

    async def bring_in() -> None:
        await asyncio.sleep(after_s)
        await asyncio.to_thread(chaos.system.import_pairs, synthetic_pairs())

    name = put_a_flipped_bit(directory, rng)
    chaos.later(bring_in())
    return f"{name}, imported after {after_s:.1f} s"
