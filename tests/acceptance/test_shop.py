"""A shop's nights, with real imports, workers and commands: good and bad ones, and the way back."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from reckoner.shared.redis.scripts import ask
from tests.shop import LIVE, USERS, Shop, message, outcomes, shop_at
from tests.system import eventually


async def test_a_week_of_nights(tmp_path: Path) -> None:
    """A good night, seven bad ones, each with its figures, the way back and forth, and a night without news."""
    async with shop_at(tmp_path / "a shöp") as system:
        shop = Shop(system)
        system.start_workers(2)
        await system.ready(2)
        shop.sells(0)
        ended, first = await shop.night()
        assert (ended.code, first["outcome"], outcomes(first)) == (0, "live", {"import": "done", "fit": "done"} | LIVE)
        monday = await shop.live()

        shop.sells(1)
        ended, second = await shop.night("--dry-run")
        assert (ended.code, second["outcome"]) == (0, "held")
        assert await shop.live() == monday
        ended, second = await shop.night()
        old = {"import": "unchanged", "fit": "unchanged"}
        assert (ended.code, second["outcome"], outcomes(second)) == (0, "live", old | LIVE)
        tuesday = await shop.live()
        assert tuesday != monday

        bad = {
            # Only today's rows.
            "users fell from 240 to 12, which is 5.0%, the limit is 50.0%": {"users": 12},
            # Views weigh nothing.
            "80.0% of the rows are left out, the limit is 50.0%": {"weight": 0},
            # A tenth of the interactions.
            "interactions fell": {"one_in": 10},
        }
        for figure, options in bad.items():
            shop.sells(2, **options)
            ended, night = await shop.night()
            assert (ended.code, night["outcome"], outcomes(night)) == (1, "refused", {"import": "refused"}), figure
            assert figure in message(night)
            assert await shop.live() == tuesday
            assert "ended as refused. See `reckoner runs show" in await shop.doctor()
        shop.sells(2, users=150)
        ended, night = await shop.night()
        assert (ended.code, outcomes(night)) == (
            1,
            {"import": "done", "fit": "done", "everybody": "done", "gate": "refused"},
        )
        assert "of the live generation's users are missing, the limit is 30.0% (RECKONER_GATE_USERS_LOST)" in message(
            night
        )
        refused = night["stages"][2]["generation"]
        assert await shop.live() == tuesday
        looked = await shop.call("get", "user 007", "--generation", refused)
        assert looked["generation"] == refused
        # Small enough for the snapshot before, but not for the live one's.
        shop.sells(2, users=100)
        ended, night = await shop.night()
        assert (ended.code, outcomes(night)) == (1, {"import": "refused"})
        assert "users fell from 240 to 100, which is 41.7%, " in message(night)
        shop.source.write_text("who,what,much\n", encoding="utf-8")
        ended, night = await shop.night()
        assert (ended.code, night["outcome"]) == (1, "failed")
        assert message(night) == f"{shop.source.name} has no rows."
        shop.source.unlink()
        ended, night = await shop.night()
        assert (ended.code, night["outcome"]) == (1, "failed")
        assert await shop.live() == tuesday

        shop.sells(3)
        unlike = ("--no-import",)
        await shop.call("import", str(shop.source), "--user", "who", "--item", "what")
        ended, night = await shop.night(*unlike)
        assert (ended.code, outcomes(night)) == (0, {"import": "skipped", "fit": "done"} | LIVE)
        wednesday = await shop.live()
        assert await shop.call("rollback") == {"generation": tuesday, "barred": wednesday}
        assert await shop.live() == tuesday
        ended, night = await shop.night(*unlike)
        assert (ended.code, night["outcome"]) == (1, "refused")
        assert "was rolled back" in message(night)
        assert await shop.call("promote", wednesday) == {"generation": wednesday, "previous": tuesday}
        assert await shop.live() == wednesday
        ended, night = await shop.night(*unlike, "--skip-code", "99")
        assert (ended.code, night["outcome"]) == (99, "unchanged")
        # The refused one stays known: nothing went live since.
        assert "ended as refused" in await shop.doctor()

        status = await shop.call("status")
        assert (status["generation"], status["previous"], status["barred"]) == (wednesday, tuesday, [])
        assert [status["holdings"][name]["lists"] for name in (tuesday, wednesday)] == [USERS, USERS]
        past = await asyncio.to_thread(shop.commands.call, "runs", "-n", "400", "--json")
        kinds = [(entry["kind"], entry["outcome"]) for entry in map(json.loads, past.out.splitlines())]
        assert kinds.count(("night", "refused")) == 6
        assert kinds.count(("import", "refused")) == 4
        shown = await asyncio.to_thread(shop.commands.call, "runs", "show", night["night"])
        assert "outcome" in shown.out
        refused_last = next(entry for entry in map(json.loads, past.out.splitlines()) if entry["outcome"] == "refused")
        assert (await shop.call("runs", "acknowledge", refused_last["id"]))["acknowledged"]
        assert "ended as unchanged." in await shop.doctor()
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
    assert "Traceback" not in system.log.read_text()


@pytest.mark.long
async def test_ten_nights_leave_two_generations(tmp_path: Path) -> None:
    """With new data every night: lists of the current and the previous generation, and no more in the store."""
    async with shop_at(tmp_path) as system:
        shop = Shop(system)
        system.start_workers(2)
        await system.ready(2)
        for day in range(10):
            shop.sells(day)
            ended, night = await shop.night()
            assert (ended.code, night["outcome"]) == (0, "live"), message(night)
            status = await shop.call("status")
            named = {status["generation"], status["previous"]} - {None}
            assert status["generation"] == night["stages"][2]["generation"]
            assert "ended as live." in await shop.doctor()
            async with system.reckoner() as reckoner:
                held = {name.decode() for name in await reckoner.results.generations.lists()}
            assert held == named
        assert len(named) == 2
        # The store keeps what nobody uses for a day.
        store = system.home / "store"
        for path in store.rglob("*"):
            os.utime(path, (0, 0))
        async with system.reckoner() as reckoner:
            records = [await reckoner.results.generations.record(name) for name in named]
            await ask(reckoner.redis, "DEL", system.keys.retention)
        used = {record.snapshot for record in records if record}, {record.model for record in records if record}

        async def bounded() -> bool:
            found = tuple({entry.id for entry in system.store.entries(kind)} for kind in ("snapshots", "models"))
            return found == used and not list(system.store.entries("parts"))

        await eventually(bounded)
        assert len(list((store / "history" / "nights").iterdir())) == 30
