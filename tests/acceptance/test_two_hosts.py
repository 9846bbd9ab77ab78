"""Workers on two hosts that share a Redis and a bucket, and no directory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands import CommandLine
from tests.s3 import SECRET
from tests.system import System, synthetic_pairs

pytestmark = pytest.mark.s3


@pytest.fixture
async def system(bucket: str, tmp_path: Path) -> AsyncIterator[System]:
    """A host with the server, and one worker on each of two further hosts."""
    async with System(tmp_path / "a höme", first_look_s=0.5, store_url=f"{bucket}/a/store") as running:
        for name in ("b", "c"):
            running.start_workers(home=tmp_path / name, redis_url=running.server.url)
        await running.ready(2)
        yield running


def files(home: Path) -> dict[str, bytes]:
    """The files of the artifacts in a host's cache."""
    found = [path for kind in ("snapshots", "models") for path in home.glob(f"cache/*/{kind}/*/*")]
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


async def test_a_fit_a_night_a_click_and_a_flip(system: System, tmp_path: Path) -> None:
    """Lists have the reference's bytes, both hosts worked, and nobody printed the secret."""
    system.import_pairs(synthetic_pairs())
    generation = await system.fit()
    assert (await system.run(block_size=3)).outcome == "passed"
    assert await system.lists(generation) == system.reference_lists(generation)
    [job] = await system.enqueue(["üser 001"])
    assert (await system.ended(job)).state == "done"
    system.import_pairs(synthetic_pairs()[:-100])
    commands = CommandLine(redis_url=system.server.url, home=tmp_path / "d", store_url=system.settings.store_url)
    night = await asyncio.to_thread(commands.call, "night", "--wait")
    assert night.code == 0, night.out + night.err
    async with system.reckoner() as reckoner:
        flipped = await reckoner.generation()
    assert flipped != generation, night.out
    assert await system.lists(flipped) == system.reference_lists(flipped)
    held = [files(tmp_path / name) for name in ("b", "c")]
    assert held[0]
    assert held[0] == held[1]
    doctor = await asyncio.to_thread(commands.call, "doctor")
    assert "match their hashes" in doctor.out
    assert SECRET not in system.log.read_text() + night.out + night.err + doctor.out + doctor.err
    await system.nothing_failed()
