"""A Redis over TLS: the whole way through it, and the errors of wrong connections."""

import asyncio
import secrets
from pathlib import Path

import pytest

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.password import add_password
from reckoner.shared.redis.scripts import ask
from tests.certificates import Authority
from tests.commands import CommandLine, Ended
from tests.proxies import HOST, Proxy
from tests.servers import start_server
from tests.system import System, synthetic_pairs

USER = "reckoner"
PASSWORD = secrets.token_hex()
# A handshake takes longer on a busy machine.
PATIENT = "socket_connect_timeout=20"


async def run(commands: CommandLine, *arguments: str) -> Ended:
    """Run a command beside the proxy, which needs this event loop."""
    return await asyncio.to_thread(commands.run, *arguments)


async def create_user(url: str, rights: str) -> None:
    """Create the user, and require a password of all others."""
    async with connect(url) as admin:
        await ask(admin, "ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rights.split())


def with_user(proxy: Proxy, options: str) -> str:
    """A proxy's URL with the user, whose password is in a file."""
    return f"{proxy.url.replace('://', f'://{USER}@')}?{PATIENT}&{options}"


async def test_the_whole_way_goes_through_tls(tmp_path: Path) -> None:
    """Workers, commands and a client, with client certificates and as an ACL user, also after a cut."""
    authority = Authority(tmp_path / "an authority ü")
    password = tmp_path / "a password"
    password.write_text(PASSWORD)
    async with System(tmp_path / "a home", first_look_s=0.2) as system:
        await create_user(system.server.url, system.keys.rights)
        system.import_pairs(synthetic_pairs())
        async with Proxy(system.server.url, authority.server(client_needed=True)) as proxy:
            url = with_user(proxy, authority.options(authority.client(USER)))
            system.start_workers(redis_url=url, redis_password_file=password)
            await system.ready(1)
            commands = CommandLine(home=system.home, redis_url=url, redis_password_file=password)
            for command in (
                ("fit", "--similarity", "cosine", "--neighbours", "5"),
                ("batch",),
                ("status",),
                ("doctor",),
            ):
                ended = await run(commands, *command)
                assert ended.code == 0, (command, ended)
            async with Reckoner(add_password(url, password), first_look_s=0.2) as reckoner:
                assert (await reckoner.recommend("üser 001", n=3)).source == "cache"
                generation = await reckoner.generation()
                entry = await reckoner.enqueue("üser 002", fresh=True)
                assert entry.job
                proxy.cut()
                async for _, flow in reckoner.wait([entry.job]):
                    assert flow
                    assert flow.state == "done"
            assert await system.lists(generation) == system.reference_lists(generation, 5)
            await system.stop_workers()
        assert PASSWORD not in system.log.read_text()


NAMES = "has a certificate for another name: use that name in the URL."
UNKNOWN = "has a certificate of an unknown authority: add ssl_ca_certs with the authority's file to the URL."
WANTED = "closes the connection before it answers: it may require a client certificate, or another ssl_certfile"
WRONG_PASSWORD = "refuses the user name or password."


@pytest.mark.parametrize("case", ["another name", "an unknown authority", "no client certificate", "a wrong password"])
async def test_an_impossible_connection_is_one_sentence_in_every_command(tmp_path: Path, case: str) -> None:
    """The doctor and all others name the cause and no secret."""
    authority = Authority(tmp_path / "an authority")
    stranger = Authority(tmp_path / "a stranger")
    shown, believed, sentence = {
        "another name": (authority.server("redis.example"), authority, NAMES),
        "an unknown authority": (authority.server(), stranger, UNKNOWN),
        "no client certificate": (authority.server(client_needed=True), authority, WANTED),
        "a wrong password": (authority.server(), authority, WRONG_PASSWORD),
    }[case]
    password = tmp_path / "a password"
    password.write_text("hunter2")
    with start_server(tmp_path / "a home") as server:
        await create_user(server.url, "~* +@all")
        async with Proxy(server.url, shown) as proxy:
            url = with_user(proxy, believed.options())
            commands = CommandLine(home=tmp_path / "a home", redis_url=url, redis_password_file=password)
            status, worker, doctor = await asyncio.gather(
                *(run(commands, *arguments) for arguments in (("status",), ("worker",), ("doctor", "--json")))
            )
    expected = f"Redis at rediss://{HOST}:{proxy.port}/0 {sentence}"
    for ended in (status, worker):
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(expected)
        assert ended.err.count("\n") == 1
    assert doctor.code == 1
    (line,) = [line for line in doctor.objects if line["check"] == "redis"]
    assert line["state"] == "wrong"
    assert line["message"].startswith(expected)
    assert "hunter2" not in "".join(ended.out + ended.err for ended in (status, worker, doctor))
