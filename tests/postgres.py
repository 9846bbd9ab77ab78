"""A real PostgreSQL server for tests, from Debian's package, on a Unix socket."""

import contextlib
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_postgresql.dbapi

from tests import debian
from tests.patience import PATIENCE_S

USER = "shop"
PASSWORD = "öpen: sésame/@1"
# PostgreSQL does not run as root.
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class PostgresServer:
    """A running server; its socket is in `directory`."""

    directory: Path

    @property
    def url(self) -> str:
        """The URL without the password."""
        return self.url_with("")

    def url_with(self, password: str, user: str = USER) -> str:
        """The URL with a password."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@/postgres?host={self.directory}"

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Execute statements, each in its own transaction; returns the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        url = self.url_with(PASSWORD)
        with adbc_driver_postgresql.dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall()
        return rows


@contextmanager
def started() -> Iterator[PostgresServer]:
    """Start a server, and finally stop it and delete its files."""
    initdb, postgres = (
        debian.find("postgresql", f"usr/lib/postgresql/*/bin/{program}") for program in ("initdb", "postgres")
    )
    account = _account()
    # The server's account has to reach its directory.
    Path(tempfile.gettempdir()).chmod(0o711)
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        directory = Path(name)
        secret = directory / "password"
        secret.write_text(PASSWORD)
        if account:
            for path in (directory, secret):
                os.chown(path, account["user"], account["group"])
        options = ["-D", f"{directory}/data", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
        command = [str(initdb), *options, "--auth=scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, **account)
        assert done.returncode == 0, done.stderr
        with (directory / "log").open("w") as log:
            process = subprocess.Popen(
                [postgres, "-D", f"{directory}/data", "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account,
            )
        try:
            server = PostgresServer(directory)
            _wait(server, process, directory / "log")
            yield server
        finally:
            # SIGINT disconnects all clients.
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def _account() -> dict[str, Any]:
    """The account for `subprocess`: this one, or another if the tests run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise AssertionError(f"PostgreSQL does not run as root, and there is nobody of {', '.join(ACCOUNTS)} here.")


def _wait(server: PostgresServer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            server.run("select 1")
        except adbc_driver_postgresql.dbapi.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        else:
            return
