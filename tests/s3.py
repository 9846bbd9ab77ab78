"""A server of S3's protocol: moto's, in a process of its own, and buckets in it."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.patience import PATIENCE_S
from tests.processes import environment
from tests.root import ROOT

# Make fetches moto: `make .venv/s3.installed`.
PACKAGES = ROOT / ".venv" / "s3"

SECRET = "a-secret-that-no-log-has"


@contextmanager
def s3_server(log: Path, port: int = 0) -> Iterator[str]:
    """The URL of a running server."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    assert PACKAGES.is_dir(), "There is no server of S3. Run `make .venv/s3.installed`."
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=output,
            env=environment(PYTHONPATH=PACKAGES),
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + PATIENCE_S
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def make_bucket(url: str) -> str:
    """A new bucket; returns its name."""
    name = f"bucket-{uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")):
        return name


def credentials(url: str) -> dict[str, str]:
    """The variables with which the server is found."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/"):
            return True
    except OSError:
        return False
