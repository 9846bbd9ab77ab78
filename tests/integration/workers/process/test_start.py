"""At its start a worker logs dangerous configuration."""

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.workers.process.wiring import connect_worker
from tests.commands import CommandLine
from tests.conftest import StartServer
from tests.patience import PATIENCE_S
from tests.world import Hand, World


def test_a_worker_does_not_start_with_an_invalid_fit(tmp_path: Path) -> None:
    """A night would fail hours later."""
    ended = subprocess.run(
        [sys.executable, "-m", "reckoner.workers"],
        env=CommandLine(home=tmp_path, fit="--similarity bm26").environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (SettingsError().exit_code, "")
    assert ended.stderr.startswith("RECKONER_FIT is invalid: ")


@pytest.mark.parametrize(
    ("limit", "policy", "rights", "expected"),
    [
        (100_000_000, "allkeys-lru", "", ["allkeys-lru"]),
        (100_000_000, "volatile-ttl", "", ["volatile-ttl"]),
        (100_000_000, "noeviction", "", []),
        (0, "allkeys-lru", "", []),
        (100_000_000, "allkeys-lru", "-info", []),
    ],
)
async def test_a_server_that_evicts_keys_is_reported(
    fresh_server: StartServer, world: World, prefix: str, limit: int, policy: str, rights: str, expected: list[str]
) -> None:
    """With a memory limit and a policy other than noeviction; without the right to ask it stays silent."""
    server = fresh_server()
    async with connect(server.url) as owner:
        await owner.config_set("maxmemory", limit)
        await owner.config_set("maxmemory-policy", policy)
        await ask(owner, "ACL SETUSER", "shop", "on", ">tiger", *Keys(prefix).rights.split(), *rights.split())
    redis = connect_worker(Settings(), server.url.replace("unix://", "unix://shop:tiger@"))
    hand = Hand(world, redis, prefix)
    assert hand.worker.on_startup
    assert hand.worker.on_shutdown
    with capture_logs() as lines:
        await hand.worker.on_startup(hand.worker.ctx)
        await hand.worker.on_shutdown(hand.worker.ctx)
    assert [line["policy"] for line in lines if "policy" in line] == expected
    assert "worker ready" in {line["event"] for line in lines}
    await redis.aclose()
