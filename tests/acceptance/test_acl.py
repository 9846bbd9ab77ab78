"""A Redis that grants only the rights shown on the deployment page."""

import asyncio
import os
import re
import secrets
import signal
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import RedisUnavailableError
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.root import ROOT
from tests.system import System, synthetic_pairs


def shown_users() -> list[list[str]]:
    """The words of the page's ACL lines, each behind `user`."""
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    return [line.split() for line in re.findall(r"^user (\w+ on .*)$", page, re.MULTILINE)]


async def test_the_users_of_the_page_have_all_rights_they_need_and_no_others(tmp_path: Path) -> None:
    """Workers and commands go through a day with it, and the server logs no refusal; other keys are out of reach.

    They do so without INFO, which the page says may be left out; a user that only reads has the client and `get`.
    """
    password = secrets.token_hex()
    async with System(tmp_path / "a home") as system:
        pairs = tmp_path / "pairs.csv"
        pairs.write_text("user,item\n" + "\n".join(map(",".join, synthetic_pairs())), encoding="utf-8")
        admin, url = connect(system.server.url), system.server.url.replace("unix://", f"unix://reckoner:{password}@")
        assert shown_users()[0] == ["reckoner", "on", ">PASSWORD", *system.keys.rights.split()]
        for words in shown_users():
            await ask(admin, "ACL", "SETUSER", *(word.replace("PASSWORD", password) for word in words))
        await ask(admin, "ACL", "SETUSER", "reckoner", "-info")
        system.start_workers(redis_url=url, lease_s=1.0)
        await system.ready(1)
        commands = CommandLine(home=system.home, redis_url=url)
        for command in (
            ("import", str(pairs)), ("import", "--events"), ("fit",), ("batch",),
            ("enqueue", "üser 001", "--wait"), ("get", "üser 002"),
            ("status",), ("fit", "--neighbours", "7"), ("batch",), ("status",),
        ):  # fmt: skip
            ended = await asyncio.to_thread(commands.call, *command)
            assert ended.code == 0, (command, ended.err, await ask(admin, "ACL", "LOG"))
        # `status` tries INFO and tolerates its refusal.
        assert {entry[7].partition(b"|")[0].lower() for entry in await ask(admin, "ACL", "LOG")} <= {b"info"}
        # `doctor` does too.
        doctor = await asyncio.to_thread(commands.call, "doctor")
        assert (doctor.code, "wrong" in doctor.out, "INFO" in doctor.out) == (0, False, True), doctor.out
        # With +info, as on the page, nothing is refused, and doctor sees more.
        await ask(admin, "ACL", "SETUSER", "reckoner", "+info")
        await ask(admin, "ACL", "LOG", "RESET")
        assert (await asyncio.to_thread(commands.call, "status")).code == 0
        assert await ask(admin, "ACL", "LOG") == []
        doctor = await asyncio.to_thread(commands.call, "doctor")
        assert (doctor.code, "wrong" in doctor.out, "INFO" in doctor.out) == (0, False, False), doctor.out
        await ask(admin, "ACL", "SETUSER", "reckoner", "-info")
        # A killed worker's job is taken over at the end of its lease, even by a worker that may not run INFO.
        system.start_workers(redis_url=url, lease_s=1.0)
        await system.ready(2)
        run_id = await system.start_run(block_size=1)
        os.kill(system.worker_pids[0], signal.SIGKILL)
        assert (await system.run_ended(run_id)).outcome == "passed"
        assert "NOPERM" not in system.log.read_text()
        await system.stop_workers()

        reading = url.replace("reckoner:", "reader:", 1)
        reader = CommandLine(redis_url=reading)
        shown = await asyncio.to_thread(reader.call, "get", "üser 002", "nobody", "--json")
        assert [(each["user"], each["source"]) for each in shown.objects] == [
            ("üser 002", "cache"),
            ("nobody", "popular"),
        ]
        async with OpenReckoner(reading) as client:
            own = await client.get("üser 001", 3)
            assert own.source == "cache"
            async with system.reckoner() as owner:
                await owner.catalogue.hide([own.items[0].item])
            assert own.items[0] not in (await client.get("üser 001", 3)).items
            await ask(admin, "SET", system.keys.result(await client.generation(), "damaged"), b'{"format":3}')
            assert (await client.get("damaged")).source == "popular"
            record = await ask(admin, "GET", system.keys.record(await client.generation()))
            await ask(admin, "SET", system.keys.record("another"), record)
            assert await client.results.generations.record("another") is None
            with pytest.raises(RedisUnavailableError, match="refuses commands"):
                await client.enqueue("nobody")

        async with connect(reading) as limited:
            generation = (await ask(limited, "GET", system.keys.current)).decode()
            results = [system.keys.result(generation, user) for user in ("üser 001", "üser 002")]
            assert all(await ask(limited, "MGET", *results))
            with pytest.raises(NoPermissionError):
                await ask(limited, "SET", system.keys.current, "another")

        async with connect(url) as limited:
            for refused in (("SET", "another", "1"), ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "SET", "maxmemory", "1")):
                with pytest.raises(NoPermissionError):
                    await ask(limited, *refused)
        await admin.aclose()
