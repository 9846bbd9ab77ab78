"""TLS to Redis: the certificates of both sides, from files that are reloaded when they change."""

import os
import ssl
from collections.abc import Mapping
from typing import Any

from reckoner.shared.errors import SettingsError

AUTHORITIES, CERTIFICATE, KEY = FILES = "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"
VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

# Messages for OpenSSL's verification errors, by their numbers in x509_vfy.h.
NOT_ITS_NAME = "has a certificate for another name: use that name in the URL"
NOT_KNOWN = "has a certificate of an unknown authority: add ssl_ca_certs with the authority's file to the URL"
REFUSED = {
    9: "has a certificate that is not valid yet: check its dates and this host's clock",
    10: "has an expired certificate",
    **dict.fromkeys((18, 19, 20, 21), NOT_KNOWN),
    **dict.fromkeys((62, 64), NOT_ITS_NAME),
}


class Tls:
    """The TLS context of a pool, from the `ssl_` options of the URL."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Check the options and their files.

        Raises:
            SettingsError: the options contradict each other, or a file is invalid.
        """
        self._files = {name: str(options[name]) for name in FILES if options.get(name)}
        self._verify = VERIFY.get(options.get("ssl_cert_reqs", "required"))
        self._check_hostname = bool(options.get("ssl_check_hostname"))
        if self._verify is None:
            raise SettingsError("The Redis URL has an invalid ssl_cert_reqs. Use required (the default) or none.")
        if self._verify is ssl.CERT_NONE and self._check_hostname:
            raise SettingsError(
                "The Redis URL has ssl_check_hostname, but ssl_cert_reqs=none checks nothing. Remove one of them."
            )
        if KEY in self._files and CERTIFICATE not in self._files:
            raise SettingsError("The Redis URL has ssl_keyfile without ssl_certfile. Add the certificate of that key.")
        self._made: tuple[list[object], ssl.SSLContext] | None = None
        if self._files:
            self.context()

    def context(self) -> ssl.SSLContext:
        """The context for a new connection; it is reloaded when a certificate file has changed.

        Raises:
            SettingsError: a file is invalid.
        """
        seen = [_file_stat(name, path) for name, path in self._files.items()]
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
            # A given authority replaces those that this host trusts.
            try:
                context = ssl.create_default_context(cafile=authorities)
            except ssl.SSLError as error:
                raise SettingsError(f"{_named(AUTHORITIES, authorities)} has no PEM certificate.") from error
            context.check_hostname = self._check_hostname
        if certificate:
            try:
                # Without a password, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(certificate, key, password=lambda: b"")
            except ssl.SSLError as error:
                raise SettingsError(
                    f"{_named(CERTIFICATE, certificate)} is not a PEM certificate for the key in "
                    f"{key or 'the same file'}, or that key has a passphrase."
                ) from error
        return context


def _file_stat(name: str, path: str) -> object:
    """The identity of a file's contents."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            file.read(1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "invalid path"
        raise SettingsError(f"{_named(name, path)} cannot be read: {why}.") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _named(name: str, path: str | None) -> str:
    return f"The file {path}, {name} in the Redis URL,"


def tls_trouble(error: ssl.SSLError) -> str:
    """The predicate of a sentence about a TLS error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return REFUSED.get(error.verify_code, f"has an invalid certificate ({error.verify_message})")
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "does not speak TLS: write redis:// instead of rediss://"
    if "ALERT" in (error.reason or ""):
        return f"refuses the TLS connection ({error.reason}): it may require a client certificate, or another one"
    return f"cannot be reached (TLS: {error.reason})"
