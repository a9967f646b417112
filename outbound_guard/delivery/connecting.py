"""Sets a session with a next hop up by aiosmtplib, then hands its connection to the transaction protocol.

aiosmtplib does what it does well: connecting, EHLO, STARTTLS, AUTH. It cannot pipeline, so the transactions are ours.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import aiosmtplib
import msgspec

from outbound_guard.config import ConfigError, Pool
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.wire import Extensions
from outbound_guard.reply import Reply, parse

TLS_SECONDS = 10.0

RELIED_ON = {
    "SMTP": ("protocol", "transport", "esmtp_extensions"),
    "SMTPProtocol": ("_buffer", "transport"),
}
"""Names of aiosmtplib that it does not document, by class; a test pins them to the version in use."""


class UnreachableError(Exception):
    """No session with the next hop could be set up; `reason`: connect | timeout | greeting | tls | auth."""

    def __init__(self, reason: str, text: str, reply: Reply | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.reply = reply
        """What the next hop said instead of a greeting, or to EHLO, if it said something."""


class Terms(msgspec.Struct, frozen=True):
    """How sessions of one pool are set up."""

    hostname: str
    """What EHLO says."""
    tls: ssl.SSLContext | None
    verified: bool
    """True if a session without a valid certificate is none."""
    user: str
    password: str
    connect_seconds: float
    reply_seconds: float


def terms_of(pool: Pool, hostname: str) -> Terms:
    """What the configuration asks for. Reads password and certificates. Raises ConfigError."""
    if not hostname.isascii() or not hostname.isprintable() or " " in hostname or not hostname:
        raise ConfigError(f"server.hostname: {hostname!r} cannot be said in EHLO")
    return Terms(
        hostname=hostname,
        tls=_tls_context(pool),
        verified=pool.tls == "required",
        user=pool.user,
        password=_password(pool),
        connect_seconds=pool.connect_seconds,
        reply_seconds=pool.reply_seconds,
    )


async def connect(
    terms: Terms, host: str, port: int, source: str | None, lost: Callable[[Connection], None]
) -> Connection:
    """A connection that is ready for transactions; `source` is the local address to bind. Raises UnreachableError."""
    try:
        return await _connect(terms, host, port, source, lost, terms.tls)
    except UnreachableError as error:
        # RFC 7435: opportunistic encryption gives way to none. A password is not sent in clear to a hop that
        # offered better.
        if error.reason != "tls" or terms.verified or terms.user:
            raise
    return await _connect(terms, host, port, source, lost, None)


async def _connect(
    terms: Terms,
    host: str,
    port: int,
    source: str | None,
    lost: Callable[[Connection], None],
    tls: ssl.SSLContext | None,
) -> Connection:
    smtp = aiosmtplib.SMTP(
        hostname=host,
        port=port,
        local_hostname=terms.hostname,
        source_address=(source, 0) if source else None,
        timeout=terms.reply_seconds,
        use_tls=False,
        start_tls=False,  # Ours to decide, below.
        tls_context=tls,
    )
    step = "connect"
    try:
        await smtp.connect(timeout=terms.connect_seconds)
        step = "greeting"
        await _hello(smtp)
        if tls is not None and smtp.supports_extension("starttls"):
            step = "tls"
            await smtp.starttls(timeout=min(TLS_SECONDS, terms.reply_seconds))
            step = "greeting"
            await _hello(smtp)
        elif terms.verified:
            raise UnreachableError("tls", "does not offer STARTTLS")
        if terms.user:
            step = "auth"
            await smtp.login(terms.user, terms.password)
        return _handed_over(smtp, terms.reply_seconds, lost)
    except UnreachableError:
        smtp.close()
        raise
    except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
        smtp.close()
        if isinstance(error, TimeoutError) and step != "tls":
            step = "timeout"
        elif step == "connect" and isinstance(error, aiosmtplib.SMTPResponseException):
            step = "greeting"
        said = None
        if step == "greeting" and isinstance(error, aiosmtplib.SMTPResponseException):
            said = parse(error.code, error.message)
        raise UnreachableError(step, f"{type(error).__name__}: {error}", said) from error
    except BaseException:
        smtp.close()
        raise


async def _hello(smtp: aiosmtplib.SMTP) -> None:
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code == 421 or not smtp.is_connected:
            raise
        await smtp.helo()  # RFC 5321 3.2: a server that does not know EHLO.


def _handed_over(smtp: aiosmtplib.SMTP, reply_seconds: float, lost: Callable[[Connection], None]) -> Connection:
    protocol, transport = smtp.protocol, smtp.transport
    if protocol is None or transport is None or transport.is_closing():
        raise UnreachableError("greeting", "closed the connection")
    if protocol._buffer:
        raise UnreachableError("greeting", "said more than it was asked")
    extensions = Extensions(
        pipelining="pipelining" in smtp.esmtp_extensions,
        size="size" in smtp.esmtp_extensions,
        eight_bit="8bitmime" in smtp.esmtp_extensions,
        smtputf8="smtputf8" in smtp.esmtp_extensions,
    )
    return Connection(cast(asyncio.Transport, transport), extensions, reply_seconds, lost)


def _password(pool: Pool) -> str:
    if not pool.user:
        return ""
    where = f"delivery.pool {pool.name!r}"
    if not pool.password_file:
        raise ConfigError(f"{where}: user is set, but no password_file")
    try:
        text = Path(pool.password_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: password_file {pool.password_file}: cannot be read: {error}") from error
    password = text.partition("\n")[0].rstrip("\r")
    if not password:
        raise ConfigError(f"{where}: password_file {pool.password_file}: its first line is empty")
    return password


def _tls_context(pool: Pool) -> ssl.SSLContext | None:
    if pool.tls == "none":
        return None
    try:
        context = ssl.create_default_context(cafile=pool.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"delivery.pool {pool.name!r}: ca_file {pool.ca_file}: {error}") from error
    if pool.tls == "opportunistic":
        # Any certificate is better than none: without a check nobody can be shut out by a bad one.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
