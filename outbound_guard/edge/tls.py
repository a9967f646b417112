"""Certificates, replaced while they are in use, and what a listener's configuration must fulfil beyond its types."""

from __future__ import annotations

import datetime
import logging
import re
import ssl
from pathlib import Path
from typing import Literal

from outbound_guard.config import Config, ConfigError, Listener, host_port, networks
from outbound_guard.edge.files import stamp

_log = logging.getLogger(__name__)

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)


class Certificate:
    """A certificate with its key. `context` serves every session from the newest pair that could be read.

    A pair that cannot be used changes nothing: the old one stays, and the log says why.
    """

    def __init__(self, certificate: Path, private_key: Path, where: str) -> None:
        """Read both; `where` is their table in the configuration. Raises ConfigError."""
        self._files, self._where = (certificate, private_key), where
        self._read = self._seen = stamp(*self._files)
        self._current = self._load()
        self.ends = _end(certificate)
        """When it ends, in unix seconds; 0 if that cannot be read."""
        self.context = self._load()
        # Asked in every handshake, also without a name; what answers is the pair read last.
        self.context.sni_callback = self._serve

    def refresh(self, *, at_once: bool = False) -> Literal["", "ok", "refused"]:
        """Read the files again if they have changed: "" if not, else what came of it.

        Two files are not replaced in one moment, so unless `at_once` they are read when they stay as they are from
        one call to the next.
        """
        now = stamp(*self._files)
        settled, self._seen = now == self._seen, now
        if now == self._read or not (settled or at_once):
            return ""
        self._read = now
        try:
            self._current = self._load()
        except ConfigError as error:
            _log.error("the certificate stays as it was: %s", error)
            return "refused"
        self.ends = _end(self._files[0])
        _log.info("%s.certificate: %s read again", self._where, self._files[0])
        return "ok"

    def _serve(self, session: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        session.context = self._current

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # RFC 8996: TLS 1.0 and 1.1 are not to be used. The ciphers are Python's: forward secrecy, no SHA-1, no RC4,
        # no 3DES. Mail servers of 2013 still find one among them.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        certificate, private_key = self._files
        for key, path in (("certificate", certificate), ("private_key", private_key)):
            try:
                path.read_bytes()
            except OSError as error:
                raise ConfigError(f"{self._where}.{key}: {path}: cannot be read: {error.strerror}") from error
        try:
            # Without an answer for it, OpenSSL would ask the terminal for the passphrase of an encrypted key.
            context.load_cert_chain(certificate, private_key, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "reason", None) or "not PEM, encrypted, or not a pair"
            raise ConfigError(
                f"{self._where}.certificate: {certificate.name} and private_key {private_key.name} cannot be used: "
                f"{reason}"
            ) from error
        return context


def certificate_of(listener: Listener, config: Config) -> Certificate | None:
    """The certificate of a listener; None if it has no TLS. Raises ConfigError naming the key."""
    if listener.tls == "none":
        return None
    where = _where(listener, config)
    for key in ("certificate", "private_key"):
        if not getattr(listener, key):
            raise ConfigError(f'{where}.{key}: is needed for tls = "{listener.tls}"')
    return Certificate(config.resolve(listener.certificate), config.resolve(listener.private_key), where)


def tls_context(listener: Listener, config: Config) -> ssl.SSLContext | None:
    """The context of `certificate_of`. Raises ConfigError naming the key."""
    certificate = certificate_of(listener, config)
    return certificate.context if certificate else None


def check(listener: Listener, config: Config) -> None:
    """What must hold before a listener is opened. Raises ConfigError naming the key."""
    where = _where(listener, config)
    try:
        host_port(listener.address)
    except ValueError as error:
        raise ConfigError(f"{where}.address: {error}") from error
    for key in ("trusted", "proxy_protocol", "xclient"):
        try:
            networks(getattr(listener, key))
        except ValueError as error:
            raise ConfigError(f"{where}.{key}: {error}") from error
    if listener.auth != "none" and not config.auth.passwords:
        raise ConfigError(f'auth.passwords: is needed for auth = "{listener.auth}" of {where}')
    tls_context(listener, config)


def _where(listener: Listener, config: Config) -> str:
    number = config.listener.index(listener) if listener in config.listener else 0
    return f"{config.path}: listener[{number}]" if config.path else f"listener[{number}]"


def _end(certificate: Path) -> float:
    """When the first certificate of a PEM file ends, in unix seconds; 0 if that cannot be read."""
    try:
        found = _PEM.search(certificate.read_text("ascii", "replace"))
        return end_of(ssl.PEM_cert_to_DER_cert(found[0])) if found else 0.0
    except (OSError, ValueError, IndexError) as error:
        _log.warning("%s: when it ends cannot be read: %s", certificate, error)
        return 0.0


def end_of(certificate: bytes) -> float:
    """When a certificate in DER ends, in unix seconds (RFC 5280 4.1.2.5). Raises ValueError or IndexError.

    By hand: the library that reads certificates would take 16 MB in every relay process, for one date.
    """
    whole = _inside(certificate, 0)
    signed = _inside(certificate, whole[0])
    place = signed[0]
    if certificate[place] == 0xA0:  # The version, which the first kind did without.
        place = _inside(certificate, place)[1]
    for _ in ("serial number", "signature algorithm", "issuer"):
        place = _inside(certificate, place)[1]
    validity = _inside(certificate, place)
    end = _inside(certificate, validity[0])[1]
    first, last = _inside(certificate, end)
    text = certificate[first:last].decode("ascii")
    if certificate[end] == 0x17:  # UTCTime: two digits for the year, from 1950 on.
        text = ("20" if text[:2] < "50" else "19") + text
    moment = datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ")
    return moment.replace(tzinfo=datetime.UTC).timestamp()


def _inside(octets: bytes, place: int) -> tuple[int, int]:
    """Where the content of the DER element at `place` begins and ends (X.690 8.1.3)."""
    length, start = octets[place + 1], place + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(octets[start : start + size], "big"), start + size
    if start + length > len(octets):
        raise ValueError("is cut off")
    return start, start + length
