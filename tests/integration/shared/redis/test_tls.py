"""TLS, through a server of the tests' own: whom we believe, whom we refuse, and what is said of it."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from reckoner.shared.errors import RedisUnavailableError, SettingsError
from reckoner.shared.redis.connections import check, connect, is_transient_redis_error, unavailable
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.scripts import ask
from tests.certificates import Authority
from tests.proxies import Proxy

Served = Callable[..., AbstractAsyncContextManager[Proxy]]
# As the refusals say it.
ANOTHER_NAME = "has a certificate for another name: use that name in the URL."
ANOTHER_AUTHORITY = "has a certificate of an unknown authority: add ssl_ca_certs with the authority's file to the URL."
CLIENT_WANTED = (
    "closes the connection before it answers: it may require a client certificate, or another ssl_certfile in the URL."
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "an authority ü")


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "another")


@pytest.fixture
def served(authority: Authority, redis_url: str) -> Served:
    """The shared server behind TLS, with a certificate of the authority."""

    @asynccontextmanager
    async def serve(name: str = "127.0.0.1", **certificate: Any) -> AsyncIterator[Proxy]:
        async with Proxy(redis_url, authority.server(name, **certificate)) as proxy:
            yield proxy

    return serve


async def said(url: str) -> str:
    """What `check` says of the server at `url`, behind where it is; nothing when all is well."""
    # A busy machine may need longer for the handshake than a second.
    separator = "&" if "?" in url else "?"
    async with connect(f"{url}{separator}socket_connect_timeout=10") as redis:
        try:
            await check(redis)
        except RedisUnavailableError as error:
            refused = error
        else:
            return ""
    assert refused.__cause__
    assert is_transient_redis_error(refused.__cause__)
    where, sentence = str(refused).split("/0 ", 1)
    assert where.startswith("Redis at rediss://")
    return sentence


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_certificate_of_the_authority_for_the_name_in_the_url_is_believed(
    served: Served, authority: Authority, name: str
) -> None:
    """The name may be an address."""
    async with served(name) as proxy:
        url = proxy.url.replace("127.0.0.1", name)
        assert await said(f"{url}?{authority.options()}") == ""


@pytest.mark.parametrize(("asked", "shown"), [("127.0.0.1", "localhost"), ("localhost", "redis.example")])
async def test_a_certificate_for_another_name_is_refused(
    served: Served, authority: Authority, asked: str, shown: str
) -> None:
    """Whoever holds any certificate of the authority could otherwise stand between us and Redis."""
    async with served(shown) as proxy:
        url = f"{proxy.url.replace('127.0.0.1', asked)}?{authority.options()}"
        assert await said(url) == ANOTHER_NAME
        assert await said(f"{url}&ssl_check_hostname=no") == ""


async def test_an_authority_that_is_not_known_is_refused(served: Served, another: Authority) -> None:
    """Neither the host's own authorities nor one that is named answer for it."""
    async with served() as proxy:
        assert await said(proxy.url) == ANOTHER_AUTHORITY
        assert await said(f"{proxy.url}?{another.options()}") == ANOTHER_AUTHORITY


async def test_an_authority_that_is_named_alone_counts(
    served: Served, authority: Authority, another: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the host trusts otherwise cannot speak for a Redis whose authority is named."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with served() as proxy:
        assert await said(proxy.url) == ""
        assert await said(f"{proxy.url}?{another.options()}") == ANOTHER_AUTHORITY


async def test_a_certificate_that_has_expired_is_refused(served: Served, authority: Authority) -> None:
    async with served(not_after=datetime(2020, 1, 1, tzinfo=UTC)) as proxy:
        assert await said(f"{proxy.url}?{authority.options()}") == "has an expired certificate."


async def test_verification_can_be_switched_off(served: Served) -> None:
    """The connection is then encrypted, but the server is unknown."""
    async with served("redis.example") as proxy:
        assert await said(f"{proxy.url}?ssl_cert_reqs=none") == ""


async def test_a_server_that_wants_a_client_certificate_gets_it(
    served: Served, authority: Authority, another: Authority
) -> None:
    """With certificate and key in one file or two. Without one, or with another authority's, the message says so."""
    certificate, key = authority.client("reckoner")
    both = certificate.with_name("both.pem")
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    async with served(client_needed=True) as proxy:
        url = f"{proxy.url}?{authority.options()}"
        assert await said(f"{proxy.url}?{authority.options((certificate, key))}") == ""
        assert await said(f"{url}&ssl_certfile={both}") == ""
        assert await said(url) == CLIENT_WANTED
        certificate, key = another.client("stranger")
        assert await said(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}") == CLIENT_WANTED


async def test_a_server_that_says_why_it_refuses_is_quoted() -> None:
    """With TLS 1.2 it says so before the connection is there: here that it cannot agree, as without a certificate."""

    def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await said(f"rediss://127.0.0.1:{port}")
        assert found.startswith("refuses the TLS connection (SSL")
        assert found.endswith("): it may require a client certificate, or another one.")


async def test_servers_with_and_without_tls_are_distinguished(
    served: Served, authority: Authority, redis_url: str
) -> None:
    """A URL with the wrong scheme gets the other one as advice."""
    async with Proxy(redis_url) as proxy:
        plain = connect(f"{proxy.url.replace('redis', 'rediss')}?{authority.options()}", connect_timeout_s=0.2)
        with pytest.raises(exceptions.RedisError) as caught:
            await plain.ping()
        assert str(unavailable(plain, caught.value)).endswith(
            " does not answer in time: if it does not speak TLS, write redis:// instead of rediss://."
        )
        await plain.aclose()
    async with served() as proxy, connect(proxy.url.replace("rediss", "redis")) as enciphered:
        with pytest.raises(exceptions.RedisError) as caught:
            await enciphered.ping()
        assert str(unavailable(enciphered, caught.value)).endswith(
            " closes the connection before it answers: if it speaks TLS, write rediss:// instead of redis://."
        )


async def test_certificates_that_are_renewed_are_used_from_the_next_connection_on(
    served: Served, authority: Authority, another: Authority, tmp_path: Path
) -> None:
    """No worker has to be started again; while a file is missing that is said, and it goes on when it is there."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def renew(by: Authority) -> None:
        for source, target in zip(by.client("renewed"), files, strict=True):
            source.replace(target)

    renew(another)
    async with (
        served(client_needed=True) as proxy,
        connect(f"{proxy.url}?{authority.options(files)}", connect_timeout_s=10) as redis,
    ):
        with pytest.raises(exceptions.ConnectionError):
            await redis.ping()
        renew(authority)
        assert await redis.ping()
        files[1].unlink()
        assert await redis.ping()
        proxy.cut()
        for _ in range(2):  # the first may be the one that sees the cut
            with pytest.raises(exceptions.ConnectionError) as caught:
                await redis.ping()
        assert is_transient_redis_error(caught.value)
        assert str(unavailable(redis, caught.value)).endswith(
            f" cannot be reached (The file {files[1]}, ssl_keyfile in the Redis URL, cannot be read: "
            "No such file or directory)."
        )
        renew(authority)
        assert await redis.ping()


async def test_a_user_with_a_password_is_known_over_tls(
    fresh_server: Callable[..., EmbeddedServer], authority: Authority
) -> None:
    """And a wrong password is refused as it is elsewhere."""
    server = fresh_server()
    async with connect(server.url) as admin:
        await ask(admin, "ACL", "SETUSER", "limited", "on", ">hunter2", "~*", "+@all")
    async with Proxy(server.url, authority.server()) as proxy:
        for password, answer in (("hunter2", ""), ("hunter3", "refuses the user name or password.")):
            url = proxy.url.replace("://", f"://limited:{password}@")
            assert await said(f"{url}?{authority.options()}") == answer


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("ssl_ca_certs={home}/nothing", "The file {home}/nothing, ssl_ca_certs in the Redis URL, cannot be read: "),
        ("ssl_ca_certs={home}", "The file {home}, ssl_ca_certs in the Redis URL, cannot be read: Is a directory."),
        ("ssl_ca_certs={home}%00", "ssl_ca_certs in the Redis URL, cannot be read: invalid path."),
        ("ssl_ca_certs={home}/text", "The file {home}/text, ssl_ca_certs in the Redis URL, has no PEM certificate"),
        (
            "ssl_certfile={home}/text",
            " is not a PEM certificate for the key in the same file, or that key has a passphrase.",
        ),
        (
            "ssl_certfile={certificate}",
            " is not a PEM certificate for the key in the same file, or that key has a passphrase.",
        ),
        (
            "ssl_certfile={certificate}&ssl_keyfile={other_key}",
            " is not a PEM certificate for the key in {other_key}, or",
        ),
        (
            "ssl_certfile={certificate}&ssl_keyfile={locked_key}",
            " is not a PEM certificate for the key in {locked_key}, or",
        ),
        ("ssl_keyfile={other_key}", "The Redis URL has ssl_keyfile without ssl_certfile."),
        ("ssl_cert_reqs=none&ssl_check_hostname=yes", "has ssl_check_hostname, but ssl_cert_reqs=none"),
        ("ssl_cert_reqs=hunter2", "The Redis URL has an invalid ssl_cert_reqs."),
    ],
)
def test_options_that_cannot_be_used_are_refused_before_anything_connects(
    tmp_path: Path, authority: Authority, options: str, sentence: str
) -> None:
    """One sentence says which and why, and nobody is asked for a passphrase."""
    certificate, key = authority.client("one")
    other_key, locked_key = authority.client("other")[1], tmp_path / "locked"
    (tmp_path / "text").write_text("hunter2")
    encrypt(key, locked_key)
    places = {"home": tmp_path, "certificate": certificate, "other_key": other_key, "locked_key": locked_key}
    with pytest.raises(SettingsError) as caught:
        connect(f"rediss://:hunter2@host?{options.format(**places)}")
    assert sentence.format(**places) in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception_only(caught.value))


def encrypt(key: Path, target: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    target.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )


@pytest.mark.parametrize("url", ["redis://host?ssl_ca_certs=x", "unix:///socket?ssl_cert_reqs=none"])
def test_options_of_tls_are_for_tls(url: str) -> None:
    """Whoever gave them would take the connection for enciphered."""
    with pytest.raises(SettingsError, match=r"^The Redis URL has ssl_\w+, which requires TLS. Start the URL with "):
        connect(url)
