"""A shop's nights, with real imports, workers and commands: good and bad ones, and the way back."""

import asyncio
import csv
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine, Ended
from tests.system import System, eventually

USERS, ITEMS = 240, 60


def rows(day: int, users: int = USERS, one_in: int = 1) -> Iterator[tuple[str, str, int]]:
    """A user, an item and a weight: each user has items near their taste, and one more each day."""
    for user in range(users):
        for place in range(6 + day):
            if (user + place) % one_in == 0:
                item = (user * 7 + place * 11) % ITEMS
                yield f"user {user:03}", f"item {item:02}", 1


def shop_at(home: Path) -> System:
    """A system whose nights import a file in its home."""
    source = f"'{home / 'purchases.csv'}' --user who --item what --weight much"
    return System(home, source=source, fit="--neighbours 30", first_look_s=0.5)


class Shop:
    """What a shop's people do: the file of the day, and the commands."""

    def __init__(self, system: System) -> None:
        self.source = system.home / "purchases.csv"
        self.commands = CommandLine(redis_url=system.server.url, home=system.home)
        self._nights = 0

    def sells(self, day: int, weight: int = 1, **options: int) -> None:
        """Write the day's file."""
        with self.source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["who", "what", "much"])
            # With a weight of 0, only each fifth row is good.
            for number, (user, item, much) in enumerate(rows(day, **options)):
                writer.writerow([user, item, much if number % 5 == 0 else weight])

    async def night(self, *options: str) -> tuple[Ended, dict[str, Any]]:
        """The next date's night; returns how the command ended, and the outcome."""
        self._nights += 1
        date = f"2026-11-{self._nights:02}"
        ended = await asyncio.to_thread(self.commands.call, "night", "--wait", "--json", "--date", date, *options)
        return ended, json.loads(ended.out.splitlines()[-1])

    async def call(self, *arguments: str) -> Any:
        """The last object that a command prints."""
        ended = await asyncio.to_thread(self.commands.call, *arguments, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out.splitlines()[-1])

    async def live(self) -> str:
        """The generation that readers get."""
        return str((await self.call("get", "user 007"))["generation"])

    async def doctor(self) -> str:
        """What the doctor says of the last night."""
        ended = await asyncio.to_thread(self.commands.call, "doctor", "--json")
        return next(
            str(line["message"]) for line in map(json.loads, ended.out.splitlines()) if line["check"] == "night"
        )


def outcomes(night: dict[str, Any]) -> list[str]:
    return [stage["outcome"] for stage in night["stages"]]


def message(night: dict[str, Any]) -> str:
    """How the last stage ended."""
    return str(night["stages"][-1]["message"])


async def test_a_week_of_nights(tmp_path: Path) -> None:
    """A good night, five bad ones, each with its figures, the way back and forth, and a night without news."""
    async with shop_at(tmp_path / "a shöp") as system:
        shop = Shop(system)
        system.start_workers(2)
        await system.ready(2)
        shop.sells(0)
        ended, first = await shop.night()
        assert (ended.code, first["outcome"], outcomes(first)) == (0, "live", ["done", "done", "done"])
        monday = await shop.live()

        shop.sells(1)
        ended, second = await shop.night("--dry-run")
        assert (ended.code, second["outcome"]) == (0, "held")
        assert await shop.live() == monday
        ended, second = await shop.night()
        assert (ended.code, second["outcome"], outcomes(second)) == (0, "live", ["unchanged", "unchanged", "done"])
        tuesday = await shop.live()
        assert tuesday != monday

        bad = {
            # Only today's rows.
            "12 users are 5.0% of the 240 before, at least 50.0% are wanted": {"users": 12},
            # Views weigh nothing.
            "80.0% of the rows are bad, the limit is 1.0%": {"weight": 0},
            # A tenth of the interactions.
            "interactions are": {"one_in": 10},
        }
        for figure, options in bad.items():
            shop.sells(2, **options)
            ended, night = await shop.night()
            assert (ended.code, night["outcome"], outcomes(night)) == (1, "refused", ["refused"]), figure
            assert figure in message(night)
            assert await shop.live() == tuesday
            assert "ended as refused. See `reckoner runs show" in await shop.doctor()
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
        assert (ended.code, outcomes(night)) == (0, ["skipped", "done", "done"])
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
        assert "ended as unchanged." in await shop.doctor()

        status = await shop.call("status")
        assert (status["generation"], status["previous"], status["barred"]) == (wednesday, tuesday, [])
        assert [status["holdings"][name]["lists"] for name in (tuesday, wednesday)] == [USERS, USERS]
        past = await asyncio.to_thread(shop.commands.call, "runs", "-n", "400", "--json")
        kinds = [(entry["kind"], entry["outcome"]) for entry in map(json.loads, past.out.splitlines())]
        assert kinds.count(("night", "refused")) == 4
        assert kinds.count(("import", "refused")) == 3
        shown = await asyncio.to_thread(shop.commands.call, "runs", "show", night["night"])
        assert "outcome" in shown.out
        refused = next(entry for entry in map(json.loads, past.out.splitlines()) if entry["outcome"] == "refused")
        assert (await shop.call("runs", "acknowledge", refused["id"]))["acknowledged"]
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
    assert "Traceback" not in system.log.read_text()


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
            assert status["generation"] == night["stages"][-1]["generation"]
            assert "ended as live." in await shop.doctor()

        async def only_two() -> bool:
            async with system.reckoner() as reckoner:
                return {name.decode() for name in await reckoner.results.generations.lists()} == named

        await eventually(only_two)


async def test_a_night_survives_what_happens_at_night(tmp_path: Path) -> None:
    """The starter's death, two nights at once, a killed worker that imports, a full Redis."""
    async with shop_at(tmp_path) as system:
        shop = Shop(system)
        workers = system.start_workers(2)
        await system.ready(2)
        shop.sells(0)
        starter = shop.commands.start("night", "--wait", "--date", "2026-11-01")
        async with system.reckoner() as reckoner:

            async def begun() -> bytes | None:
                found: bytes | None = await ask(reckoner.redis, "GET", system.keys.night_now)
                return found

            first = (await eventually(begun)).decode()
            starter.kill()
            starter.communicate()
            joined = await asyncio.to_thread(shop.commands.call, "night", "--wait", "--json", "--date", "2026-11-02")
            assert joined.code == 0
            assert json.loads(joined.out.splitlines()[-1])["night"] == first
            assert f"Night {first} is in progress. Joined it." in joined.err
            known = {"night": first, "date": "2026-11-01", "beginning": "known"}
            assert await shop.call("night", "--date", "2026-11-01") == known
            done = await asyncio.to_thread(shop.commands.call, "night", "--date", "2026-11-01")
            assert done.out == f"The night of 2026-11-01 went live already. See `reckoner runs show {first}`.\n"

            shop.sells(1)
            running = asyncio.create_task(shop.night("--date", "2026-11-03"))
            await eventually(begun)
            workers.send(signal.SIGKILL)
            ended, night = await running
            assert (ended.code, night["outcome"]) == (0, "live")

            shop.sells(2)
            running = asyncio.create_task(shop.night("--date", "2026-11-04"))
            await eventually(begun)
            await ask(reckoner.redis, "CONFIG", "SET", "maxmemory", 1)
            await asyncio.sleep(2.0)
            await ask(reckoner.redis, "CONFIG", "SET", "maxmemory", 0)
            ended, night = await running
            assert (ended.code, night["outcome"]) == (0, "live")
