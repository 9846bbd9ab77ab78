"""The nightly run with real workers: a missed run starts with the workers, once for its date."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.flows.nights import Nights
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import ModelConfig
from tests.system import System, eventually, synthetic_pairs

ZONE = "Asia/Kathmandu"
SLIM = ModelConfig("slim", 3, l1=0.25, l2=2.0, l2_share=0.1)


async def a_minute_ago(reckoner: OpenReckoner) -> datetime:
    """By the server's clock and on the wall in the zone."""
    seconds, _ = await ask(reckoner.redis, "TIME")
    return datetime.fromtimestamp(int(seconds), UTC).astimezone(ZoneInfo(ZONE)) - timedelta(minutes=1)


async def runs(system: System, reckoner: OpenReckoner) -> set[str]:
    """All runs that are remembered."""
    start = system.keys.run("")
    names = {name.decode().removeprefix(start) async for name in reckoner.redis.scan_iter(match=f"{start}*")}
    return {name for name in names if ":" not in name}


async def test_workers_that_were_down_at_the_minute_start_one_run_and_no_second(tmp_path: Path) -> None:
    """Two processes check at their start, also after a restart: one run, which passes and is logged.

    The night fits as the live model was fitted, and the lists are the reference's.
    """
    async with System(tmp_path / "a höme", first_look_s=0.5) as system, system.reckoner() as reckoner:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        generation = await system.fit(config=SLIM)
        await system.stop_workers()
        assert await system.lists(generation) == {}
        passed = await a_minute_ago(reckoner)

        async def night_begun() -> tuple[str, str] | None:
            return await Nights(reckoner.redis, system.keys).last()

        system.start_workers(2, nightly=f"{passed:%H:%M} {ZONE}")
        date, night_id = await eventually(night_begun)
        assert date == passed.date().isoformat()
        [*_, night] = [night async for night in reckoner.operator.follow_night(night_id)]
        assert night.outcome == "live"
        assert await system.lists(generation) == system.truth(config=SLIM).lists(generation)
        await system.stop_workers()
        system.start_workers(2, nightly=f"{passed:%H:%M} {ZONE}")
        await system.ready(2)
        # They check for a due run as soon as they are ready.
        await asyncio.sleep(1.0)
        assert await runs(system, reckoner) == {night.stages["everybody"].job}
        assert await night_begun() == (date, night_id)
        assert not await ask(reckoner.redis, "EXISTS", system.keys.dead, system.keys.refused)
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
    log = system.log.read_text()
    assert log.count("night started") == 1
    assert "Traceback" not in log
