"""A shop for acceptance tests of nights: the file of each day, workers, and commands."""

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.commands import CommandLine, Ended
from tests.system import System

USERS, ITEMS = 240, 60


def rows(day: int, users: int = USERS, one_in: int = 1) -> Iterator[tuple[str, str, int]]:
    """A user, an item and a weight: each user has items near their taste, and one more each day."""
    for user in range(users):
        for place in range(6 + day):
            if (user + place) % one_in == 0:
                item = (user * 7 + place * 11) % ITEMS
                yield f"user {user:03}", f"item {item:02}", 1


def shop_at(home: Path, **settings: object) -> System:
    """A system whose nights import a file in its home."""
    source = f"'{home / 'purchases.csv'}' --user who --item what --weight much"
    return System(home, source=source, fit="--neighbours 30", first_look_s=0.5, **settings)


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

    async def went_live(self, ended: Ended, night: dict[str, Any]) -> None:
        """Check that a night went live: for its starter, for readers, in the history, and for the doctor."""
        assert (ended.code, night["outcome"]) == (0, "live"), night
        assert await self.live() == night["generation"]
        shown = await self.call("runs", "show", night["night"])
        assert (shown["outcome"], shown["stages"]) == ("live", night["stages"])
        assert "ended as live." in await self.doctor()

    async def doctor(self) -> str:
        """What the doctor says of the last night."""
        ended = await asyncio.to_thread(self.commands.call, "doctor", "--json")
        return next(
            str(line["message"]) for line in map(json.loads, ended.out.splitlines()) if line["check"] == "night"
        )


def outcomes(night: dict[str, Any]) -> dict[str, str]:
    """How the stages ended that tell nights apart."""
    found = {stage["name"]: stage["outcome"] for stage in night["stages"]}
    return {name: found[name] for name in ("import", "fit", "everybody", "gate", "flip") if name in found}


LIVE = {"everybody": "done", "gate": "done", "flip": "done"}


def message(night: dict[str, Any]) -> str:
    """How the last stage ended."""
    return str(night["stages"][-1]["message"])
