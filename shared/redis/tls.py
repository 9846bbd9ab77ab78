"""TLS to Redis: who the server has to be and who we are, by files that are read again when they have changed."""

import os
import ssl
from collections.abc import Mapping
from typing import Any

from reckoner.shared.errors import SettingsError

AUTHORITIES, CERTIFICATE, KEY = FILES = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"
VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

# What OpenSSL says of a certificate, by its numbers (x509_vfy.h); of most others its own words are as good.
NOT_ITS_NAME = "shows a certificate for another name than the URL has: give the name that the certificate is for"
NOT_KNOWN = (
    "shows a certificate of an authority that is not known here: name that one's file by ssl_ca_certs in the URL"
)
REFUSED = {
    9: "shows a certificate that is not valid yet: look at its dates and at this host's clock",
    10: "shows a certificate that has expired",
    **dict.fromkeys((18, 19, 20, 21), NOT_KNOWN),
    **dict.fromkeys((62, 64), NOT_ITS_NAME),
}


class Tls:
    """What the connections of one pool agree on with their server, by the `ssl_` options of the URL."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Look at the options, and at the files that they name.

        Raises:
            SettingsError: they cannot be used together, or a file cannot be used.
        """
        self._files = {name: str(options[name]) for name in FILES if options.get(name)}
        self._verify = VERIFY.get(options.get("ssl_cert_reqs", "required"))
        self._check_hostname = bool(options.get("ssl_check_hostname"))
        if self._verify is None:
            raise SettingsError(
                "The Redis URL has an ssl_cert_reqs that is neither required, which is the default, nor none."
            )
        if self._verify is ssl.CERT_NONE and self._check_hostname:
            raise SettingsError(
                "The Redis URL has ssl_cert_reqs=none, by which no certificate is looked at, and ssl_check_hostname: "
                "leave one of them out."
            )
        if KEY in self._files and CERTIFICATE not in self._files:
            raise SettingsError("The Redis URL has ssl_keyfile and lacks ssl_certfile, the certificate of that key.")
        self._made: tuple[list[object], ssl.SSLContext] | None = None
        if self._files:
            self.context()

    def context(self) -> ssl.SSLContext:
        """What a new connection is made with: certificates are renewed while a worker runs, and then it is another.

        Raises:
            SettingsError: a file cannot be used.
        """
        seen = [_seen(name, path) for name, path in self._files.items()]
        if self._made is None or self._made[0] != seen:
            self._made = seen, self._make()
        return self._made[1]

    def _make(self) -> ssl.SSLContext:
        authorities, certificate, key = map(self._files.get, FILES)
        if self._verify is ssl.CERT_NONE:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            # Where an authority is named, it alone is trusted; otherwise those are that this host trusts.
            try:
                context = ssl.create_default_context(cafile=authorities)
            except ssl.SSLError as error:
                raise SettingsError(f"{_told(AUTHORITIES, authorities)} holds no certificate in PEM.") from error
            context.check_hostname = self._check_hostname
        if certificate:
            try:
                # Without a password of ours OpenSSL would ask whoever sits at the terminal.
                context.load_cert_chain(certificate, key, password=lambda: b"")
            except ssl.SSLError as error:
                raise SettingsError(
                    f"{_told(CERTIFICATE, certificate)} is not a certificate in PEM of which "
                    f"{key or 'the same file'} holds the key, without a passphrase."
                ) from error
        return context


def _seen(name: str, path: str) -> object:
    """What is another when a file is."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            file.read(1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "this is no path"
        raise SettingsError(f"{_told(name, path)} cannot be read: {why}.") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _told(name: str, path: str | None) -> str:
    return f"The file {path}, {name} in the Redis URL,"


def tls_trouble(error: ssl.SSLError) -> str:
    """Say in half a sentence what went wrong between us and a server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return REFUSED.get(error.verify_code, f"shows a certificate that is refused ({error.verify_message})")
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "does not speak TLS: if that is right, write redis:// instead of rediss://"
    if "ALERT" in (error.reason or ""):
        return f"refuses the TLS connection ({error.reason}): it may want a client certificate, or another one"
    return f"cannot be reached (TLS: {error.reason})"
