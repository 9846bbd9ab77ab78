"""Certificates for tests of TLS."""

import ssl
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import trustme

from tests.proxies import HOST


class Authority:
    """An authority for servers and clients, with its files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._authority = trustme.CA()
        self.file = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    def server(
        self, name: str = HOST, *, client_needed: bool = False, not_after: datetime | None = None
    ) -> ssl.SSLContext:
        """The TLS context of a server of that name, which may require client certificates of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name, not_after=not_after).configure_cert(context)
        if client_needed:
            context.verify_mode = ssl.CERT_REQUIRED
            self._authority.configure_trust(context)
        return context

    def client(self, name: str) -> tuple[Path, Path]:
        """The files of a new client certificate and its key."""
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        issued = self._authority.issue_cert(f"{name}@example.org")
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return certificate, key

    def options(self, client: tuple[Path, Path] | None = None) -> str:
        """URL options that trust this authority and show a client's certificate."""
        named = {"ssl_ca_certs": self.file}
        if client is not None:
            named |= {"ssl_certfile": client[0], "ssl_keyfile": client[1]}
        return "&".join(f"{option}={quote(str(path))}" for option, path in named.items())
