"""Sets a session with a next hop up by aiosmtplib, then hands its connection to the transaction protocol.

aiosmtplib does what it does well: connecting, EHLO, STARTTLS, AUTH. It cannot pipeline, so the transactions are ours.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import aiosmtplib
import msgspec

from outbound_guard.config import ConfigError, Pool
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.dane import Tlsa, anchored, chain_of, vouched
from outbound_guard.delivery.replies import KEPT_LINES, reply_of
from outbound_guard.delivery.wire import Extensions
from outbound_guard.reply import Reply

TLS_SECONDS = 10.0

RELIED_ON = {
    "SMTP": ("protocol", "transport", "esmtp_extensions"),
    "SMTPProtocol": ("_buffer", "transport"),
}
"""Names of aiosmtplib that it does not document, by class; a test pins them to the version in use."""


class UnreachableError(Exception):
    """No session with the next hop could be set up; `reason`: source | connect | timeout | greeting | tls | auth.

    source: this machine has not the address that was to be bound.
    """

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
    required: bool
    """True if a session without TLS, or with a certificate that `tls` or `tlsa` does not take, is none."""
    user: str
    password: str
    connect_seconds: float
    reply_seconds: float
    greeting_seconds: float = 0.0
    """0: as long as for the connection."""
    final_seconds: float = 0.0
    """For the reply to the end of data, if that is longer than `reply_seconds`."""
    tlsa: tuple[Tlsa, ...] = ()
    """One of these must vouch for the server (DANE); `tls` then checks nothing."""


def terms_of(pool: Pool, hostname: str) -> Terms:
    """What the configuration asks for. Reads password and certificates. Raises ConfigError."""
    return Terms(
        hostname=greeting_name(pool.helo or hostname),
        tls=_tls_context(pool),
        required=pool.tls == "required",
        user=pool.user,
        password=_password(pool),
        connect_seconds=pool.connect_seconds,
        reply_seconds=pool.reply_seconds,
    )


def greeting_name(name: str) -> str:
    """A name to be said in EHLO. Raises ConfigError."""
    if not name.isascii() or not name.isprintable() or " " in name or not name:
        raise ConfigError(f"server.hostname: {name!r} cannot be said in EHLO")
    return name


class _Anchored(Exception):  # noqa: N818 -- It brings news, no failure.
    """The server has shown the authority that its zone names; whether that has issued its certificate is not known."""

    def __init__(self, authority: bytes) -> None:
        super().__init__()
        self.authority = authority


async def connect(
    terms: Terms,
    host: str,
    port: int,
    source: str | None,
    lost: Callable[[Connection], None],
    address: str = "",
) -> Connection:
    """A connection that is ready for transactions; `source` is the local address to bind. Raises UnreachableError.

    With `address` (of an IP) that is where the host is, and its name is only what its certificate must be for.
    """
    to = (terms, host, port, source, lost, address)
    try:
        return await _connect(*to, terms.tls, terms.tlsa)
    except _Anchored as found:
        # What the chain must lead to is known only now; the TLS library checks it in a handshake of its own.
        try:
            tls = anchored(found.authority)
        except (ssl.SSLError, ValueError) as error:
            raise UnreachableError("tls", f"the authority that its zone names cannot be read: {error}") from error
        return await _connect(*to, tls, ())
    except UnreachableError as error:
        # RFC 7435: opportunistic encryption gives way to none. A password is not sent in clear to a hop that
        # offered better.
        if error.reason != "tls" or terms.required or terms.user:
            raise
    return await _connect(*to, None, ())


async def _connect(
    terms: Terms,
    host: str,
    port: int,
    source: str | None,
    lost: Callable[[Connection], None],
    address: str,
    tls: ssl.SSLContext | None,
    tlsa: tuple[Tlsa, ...],
) -> Connection:
    sock = await _dialled(address, port, source, terms.connect_seconds) if address else None
    smtp = aiosmtplib.SMTP(
        hostname=host,
        port=None if sock else port,
        sock=sock,
        local_hostname=terms.hostname,
        source_address=(source, 0) if source and not sock else None,
        timeout=terms.reply_seconds,
        use_tls=False,
        start_tls=False,  # Ours to decide, below.
        tls_context=tls,
    )
    step = "connect"
    try:
        await smtp.connect(timeout=terms.greeting_seconds or terms.connect_seconds)
        step = "greeting"
        await _hello(smtp)
        if tls is not None and smtp.supports_extension("starttls"):
            step = "tls"
            await smtp.starttls(server_hostname=host, timeout=min(TLS_SECONDS, terms.reply_seconds))
            if tlsa:
                _vouched_for(smtp, tlsa)
            step = "greeting"
            await _hello(smtp)
        elif terms.required:
            raise UnreachableError("tls", "does not offer STARTTLS")
        if terms.user:
            step = "auth"
            await smtp.login(terms.user, terms.password)
        return _handed_over(smtp, terms, lost)
    except (UnreachableError, _Anchored):
        smtp.close()
        raise
    except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
        smtp.close()
        if isinstance(error, TimeoutError) and step != "tls":
            step = "timeout"
        elif step == "connect" and isinstance(error, aiosmtplib.SMTPResponseException):
            step = "greeting"
        elif source and isinstance(error, aiosmtplib.SMTPConnectError) and _is_no_address_of_ours(error.__cause__):
            step = "source"
        said = None
        if step == "greeting" and isinstance(error, aiosmtplib.SMTPResponseException):
            # What was no UTF-8 stands in the text as surrogates, and nothing else in it has been looked at.
            lines = error.message.encode("utf-8", "surrogateescape").split(b"\n")
            said = reply_of(error.code, lines[:KEPT_LINES])
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


async def _dialled(address: str, port: int, source: str | None, seconds: float) -> socket.socket:
    """A connected socket. The greeting has a time of its own: some servers let strangers wait for it on purpose."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except TimeoutError as error:
        sock.close()
        raise UnreachableError("timeout", f"no connection within {seconds:g} s") from error
    except OSError as error:
        sock.close()
        reason = "source" if source and _is_no_address_of_ours(error) else "connect"
        raise UnreachableError(reason, f"{type(error).__name__}: {error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _is_no_address_of_ours(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL


def _vouched_for(smtp: aiosmtplib.SMTP, tlsa: tuple[Tlsa, ...]) -> None:
    authority = vouched(tlsa, chain_of(smtp.get_transport_info("ssl_object")))
    if authority is None:
        raise UnreachableError("tls", "its certificate is none of those that its zone names (DANE)")
    if authority:
        raise _Anchored(authority)


def _handed_over(smtp: aiosmtplib.SMTP, terms: Terms, lost: Callable[[Connection], None]) -> Connection:
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
        dsn="dsn" in smtp.esmtp_extensions,
    )
    # The library's two objects know each other and would wait for the collector, which in a relay is rare.
    smtp.protocol = smtp.transport = None
    return Connection(cast(asyncio.Transport, transport), extensions, terms.reply_seconds, lost, terms.final_seconds)


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
    match pool.tls:
        case "none":
            return None
        case "opportunistic":
            if pool.ca_file:
                checked(pool)  # It has no effect, but one that is not there is a mistake.
            return unchecked()
        case "required":
            return checked(pool)


def checked(pool: Pool) -> ssl.SSLContext:
    """For sessions whose certificate a trusted authority must have issued for the host's name. Raises ConfigError."""
    try:
        return _trusting(pool.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"delivery.pool {pool.name!r}: ca_file {pool.ca_file}: {error}") from error


@functools.cache
def _trusting(ca_file: str) -> ssl.SSLContext:
    # To read the system's authorities takes a good part of a second.
    return ssl.create_default_context(cafile=ca_file or None)


def unchecked() -> ssl.SSLContext:
    """For sessions that are encrypted, whoever is at the other end: nobody can be shut out by a bad certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
