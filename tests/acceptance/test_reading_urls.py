"""The examples of the reading contract take one list of URLs as our own reader does (make test-node).

Those run whose language and client for Redis are on this machine; where Node is, it is always among them.
"""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from tests.certificates import Authority
from tests.patience import PATIENCE_S
from tests.proxies import Relay
from tests.readers import INSTALLED, reader
from tests.root import ROOT
from tests.servers import tcp_server

LIST = json.loads((ROOT / "tests" / "reader_urls.json").read_text(encoding="utf-8"))


async def fill(port: int) -> None:
    """Two users, and databases of which each says its number to who reads it."""
    owner: Any = connect(f"redis://127.0.0.1:{port}", max_connections=1)
    for database in (0, 3):
        await ask(owner, "SELECT", database)
        record = {"snapshot": "s", "popular": [f"database {database}"]}
        await ask(owner, "MSET", "reckoner:generation", "g", "reckoner:record:g", json.dumps(record))
    rights = ("%R~reckoner:*", "+@connection", "+get", "+mget", "+zmscore", "+hmget")
    await ask(owner, "ACL", "SETUSER", "reader", "on", f">{LIST['password']}", *rights)
    await ask(owner, "ACL", "SETUSER", "default", "resetpass", ">all+others")
    await owner.aclose()


@contextlib.asynccontextmanager
async def places(directory: Path) -> AsyncIterator[dict[str, Any]]:
    """A server at every place that the list names; yields the places, and what makes its certificate believed."""
    socket, authority = directory / "a socket", Authority(directory / "an authority")
    address = ("--bind", "127.0.0.1", "-::1", "--unixsocket", str(socket))
    with tcp_server(directory, *address) as port:
        await fill(port)
        url = f"redis://127.0.0.1:{port}"
        usual = Relay(lambda: url)
        # An address where no other Redis or test uses the default port.
        usual.host, usual.port = f"127.{os.getpid() >> 16 | 128}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", 6379
        async with usual, Relay(lambda: url, authority.server()) as tls:
            yield {
                "port": port,
                "tls": tls.port,
                "socket": quote(str(socket)),
                "host": usual.host,
                "authority": authority.file,
            }


@pytest.mark.node
@pytest.mark.parametrize("name", INSTALLED)
async def test_an_example_takes_every_url_of_the_list(tmp_path: Path, name: str) -> None:
    """With its user, password and database. Invalid databases and other schemes are refused."""
    command = [*reader(name, tmp_path), "nobody"]
    async with places(tmp_path) as at:
        trusted = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(at["authority"]))
        for case in LIST["urls"]:
            environ = {"PATH": "/usr/bin:/bin", "RECKONER_REDIS_URL": case["url"].format(**at), **trusted}
            done = await asyncio.to_thread(
                subprocess.run, command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
            expected = None if case["database"] is None else f"1\tdatabase {case['database']}\n"
            assert (done.stdout or None, done.returncode == 0) == (expected, expected is not None), (case, done.stderr)
            assert "q@r:s" not in done.stderr
