"""What happens at night, with real imports, workers and commands: each night goes live in the end."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.directory import DirectoryStore
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, started
from tests.shop import Shop, rows, shop_at
from tests.snapshots import current, interactions
from tests.system import System, Workers, eventually

# Longer than the driver's claim.
AWAY_S = 12.0


@asynccontextmanager
async def shop_with_two_workers(home: Path) -> AsyncIterator[tuple[Shop, System, list[Workers]]]:
    """After a first night; each worker has a supervisor of its own."""
    # Small blocks, so that a run of many users takes seconds.
    async with shop_at(home, block_size=20) as system:
        shop = Shop(system)
        workers = [system.start_workers(), system.start_workers()]
        await system.ready(2)
        shop.sells(0)
        ended, night = await shop.night()
        assert (ended.code, night["outcome"]) == (0, "live")
        yield shop, system, workers


async def at_stage(reckoner: OpenReckoner, *names: str) -> None:
    """Wait until the night under way is at one of these stages."""

    async def running() -> bool:
        night = (await reckoner.operator.status()).night
        return night is not None and any(name in names and it.outcome is None for name, it in night.stages.items())

    await eventually(running)


async def test_a_night_survives_its_starter_and_two_nights_are_one(tmp_path: Path) -> None:
    """The second command joins the first one's night, whatever its date; a third one learns that it is done."""
    async with shop_with_two_workers(tmp_path) as (shop, system, _), system.reckoner() as reckoner:
        shop.sells(1)
        starter = shop.commands.start("night", "--wait", "--date", "2026-12-01")

        async def begun() -> bytes | None:
            found: bytes | None = await ask(reckoner.redis, "GET", system.keys.night_now)
            return found

        first = (await eventually(begun)).decode()
        starter.kill()
        starter.communicate()
        joined = await asyncio.to_thread(shop.commands.call, "night", "--wait", "--json", "--date", "2026-12-02")
        assert joined.code == 0
        assert json.loads(joined.out.splitlines()[-1])["night"] == first
        assert f"Night {first} is in progress. Joined it." in joined.err
        known = {"night": first, "date": "2026-12-01", "beginning": "known"}
        assert await shop.call("night", "--date", "2026-12-01") == known
        done = await asyncio.to_thread(shop.commands.call, "night", "--date", "2026-12-01")
        assert done.out == f"The night of 2026-12-01 went live already. See `reckoner runs show {first}`.\n"
        assert (await shop.call("runs", "show", first))["starter"] == "command"


async def test_another_worker_goes_on_with_the_import_of_a_killed_one(tmp_path: Path) -> None:
    """It is killed in the middle of the import; the import's process ends with it."""
    async with shop_with_two_workers(tmp_path) as (shop, system, _), system.reckoner() as reckoner:
        before = await shop.live()
        shop.sells(1, users=40_000)
        running = asyncio.create_task(shop.night())
        await at_stage(reckoner, "import")

        async def importing() -> psutil.Process | None:
            children = [child for pid in system.worker_pids for child in psutil.Process(pid).children()]
            return next((child for child in children if "import" in child.cmdline()), None)

        child = await eventually(importing)
        worker = child.parent()
        assert worker is not None
        worker.send_signal(signal.SIGKILL)
        psutil.wait_procs([child], timeout=PATIENCE_S)
        assert not child.is_running()
        assert await shop.live() == before
        await shop.went_live(*await running)
        assert await shop.live() != before


async def test_nights_whose_imports_are_killed_count_each_row_and_event_once(tmp_path: Path) -> None:
    """Once the snapshot is stored, and may be current or not; by themselves or with their worker; events go on."""
    source = f"'{tmp_path / 'purchases.csv'}' --user who --item what --append --repeats sum --events"
    async with System(tmp_path, source=source, fit="--neighbours 30", first_look_s=0.5, block_size=500) as system:
        shop, counts, stored = Shop(system), Counter[tuple[str, str]](), tmp_path / "store" / "snapshots"
        for _ in range(2):
            system.start_workers()
        await system.ready(2)
        async with system.reckoner() as reckoner:

            async def records(*users: int) -> None:
                events = [Event(f"user {user:03}", "item 00") for user in users]
                assert {each.status for each in await reckoner.record_many(events)} == {"recorded"}
                counts.update((event.user, event.item) for event in events)

            async def importing() -> psutil.Process | None:
                children = [child for pid in system.worker_pids for child in psutil.Process(pid).children()]
                return next((child for child in children if "import" in child.cmdline()), None)

            async def has_stored(child: psutil.Process, before: int) -> bool:
                return not child.is_running() or len([*stored.iterdir()]) > before

            for day, victim in enumerate(("import", "worker")):
                shop.sells(day, users=5_000)
                counts.update((user, item) for user, item, _ in rows(day, users=5_000))
                await records(day, 7, 7)
                before = len([*stored.iterdir()]) if stored.exists() else 0
                running = asyncio.create_task(shop.night())
                child = await eventually(importing)
                await eventually(partial(has_stored, child, before))
                with suppress(psutil.NoSuchProcess):
                    worker = child.parent()
                    (worker if worker and victim == "worker" else child).kill()
                await records(day + 1)
                await shop.went_live(*await running)
            # What came too late for the last night is for the next one, which appends no row again.
            assert (await shop.night())[0].code == 0
            found = interactions(current(DirectoryStore(tmp_path / "store")))
            assert {pair: weight for pair, (weight, _) in found.items()} == counts


async def test_a_night_goes_on_when_all_workers_were_killed(tmp_path: Path) -> None:
    """Their supervisors start others."""
    async with shop_with_two_workers(tmp_path) as (shop, system, workers), system.reckoner() as reckoner:
        shop.sells(1)
        running = asyncio.create_task(shop.night())
        await at_stage(reckoner, "import", "fit", "everybody")
        for some in workers:
            some.send(signal.SIGKILL)
        await shop.went_live(*await running)


async def waits(shop: Shop, reckoner: OpenReckoner, stage: str, change: Callable[[bool], Awaitable[object]]) -> None:
    """What `change(True)` takes away at a stage is missing for a while: readers keep their lists, the night goes on."""
    before = await shop.live()
    shop.sells(1, users=40_000)
    running = asyncio.create_task(shop.night())
    await at_stage(reckoner, stage)
    await change(True)
    try:
        await asyncio.sleep(AWAY_S)
        assert await shop.live() == before
    finally:
        await change(False)
    await shop.went_live(*await running)


async def test_a_night_waits_for_memory(tmp_path: Path) -> None:
    """Redis is full for longer than the driver's claim lives."""
    async with shop_with_two_workers(tmp_path) as (shop, system, _), system.reckoner() as reckoner:
        await waits(
            shop, reckoner, "everybody", lambda full: ask(reckoner.redis, "CONFIG", "SET", "maxmemory", int(full))
        )


async def test_a_night_waits_for_the_store(tmp_path: Path) -> None:
    """It is away for a while, and nothing has failed."""
    async with shop_with_two_workers(tmp_path) as (shop, system, _), system.reckoner() as reckoner:
        places = system.home / "store", system.home / "away"

        async def move(away: bool) -> None:
            there, here = places if away else reversed(places)
            there.rename(here)

        await waits(shop, reckoner, "import", move)
        await system.nothing_failed()


@pytest.mark.postgres
async def test_a_night_waits_for_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is away when the night begins, and comes back after two tries. An integration test has all tries in vain."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with started() as database:
        database.run("create table bought as select i % 200 as who, i % 50 as what from generate_series(1, 5000) as i")
        way = tmp_path / "way"
        url = database.url.replace(str(database.directory), str(way))
        source = f"{url} --query 'select who as user_id, what as item_id from bought'"
        async with System(tmp_path / "home", source=source, fit="--neighbours 30", first_look_s=0.5) as system:
            shop = Shop(system)
            system.start_workers()
            await system.ready(1)
            running = asyncio.create_task(shop.night())

            async def tried_again() -> bool:
                return system.log.read_text().count("import interrupted") == 2

            await eventually(tried_again)
            way.symlink_to(database.directory)
            await shop.went_live(*await running)
            assert await shop.call("get", "7")
