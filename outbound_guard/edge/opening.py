"""What comes before the greeting: the PROXY header of a load balancer, and the handshake of implicit TLS (RFC 8314)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from outbound_guard.edge import answers
from outbound_guard.edge.ends import Closed
from outbound_guard.edge.proxied import Malformed, take

if TYPE_CHECKING:
    from outbound_guard.edge.wire import Wire

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
_HEADER_SECONDS = 10.0


async def opened(session: Wire, proxied: bool) -> bool:
    """Get a connection to where SMTP begins; False if it is over before that.

    `proxied`: it comes from a load balancer, so a header must come first: to guess whether one does would let clients
    write their own.
    """
    context = session.terms.tls_first
    try:
        if proxied and not await _introduced(session):
            return False
        if context is not None:
            await shake_hands(session, context, early=True)
            session.encrypted()
    except Closed:
        return False
    return True


async def _introduced(session: Wire) -> bool:
    """Read for whom the connection is, and count it for that address. Raises Closed."""
    terms = session.terms
    try:
        async with asyncio.timeout(_HEADER_SECONDS):
            while (found := take(bytes(session.unread))) is None:
                await session.wait()
    except TimeoutError:
        terms.count("smtp_timeouts_total", "proxy")
        turn_away(session, answers.TIMED_OUT, "proxy")
        return False
    except Malformed as error:
        log.warning("PROXY header from %s: %s", session.client_ip, error)
        turn_away(session, answers.BAD_PROXY, "proxy")
        return False
    client, octets = found
    del session.unread[:octets]
    if not client.address:
        session.known = False
        return True
    session.client_ip, session.client_port = client
    refusal = terms.sessions.count(session)
    if refusal is not None:
        turn_away(session, *refusal)
    return refusal is None


def turn_away(session: Wire, answer: bytes, reason: str) -> None:
    """Refuse a connection as a whole."""
    terms, transport = session.terms, session.transport
    terms.count("smtp_sessions_refused_total", terms.name, reason)
    if transport is not None:
        if terms.tls_first is None:
            # A client that expects a handshake could not read it.
            transport.write(answer)
        transport.close()


async def shake_hands(session: Wire, context: ssl.SSLContext, *, early: bool = False) -> None:
    """Turn to TLS. `early`: what was read up to now belongs to the handshake. Raises Closed if that fails."""
    loop, transport = session.loop, session.transport
    if transport is None or transport.is_closing():
        raise Closed
    # Awaited as it is, it puts the TLS layer in our place at once: nothing is read in between.
    starting: Coroutine[Any, Any, asyncio.Transport | None] | asyncio.Task[asyncio.Transport | None]
    starting = loop.start_tls(transport, session, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
    if early:
        starting = loop.create_task(starting)
        # In its first step it puts the TLS layer in our place and pauses reading. Before it reads on, the layer gets
        # what came before it was there, by the same interface by which the transport hands octets to it.
        await asyncio.sleep(0)
        loop.call_soon(_hand_over, session, transport)
    try:
        secured = await starting
    except OSError as error:  # ssl.SSLError, ConnectionError and TimeoutError are all of this kind.
        session.terms.count("smtp_tls_failed_total", session.terms.name)
        raise Closed from error
    if secured is None or session.gone:
        raise Closed
    session.transport = secured


def _hand_over(session: Wire, transport: asyncio.Transport) -> None:
    octets = bytes(session.unread)
    session.unread.clear()
    layer = cast(asyncio.BufferedProtocol, transport.get_protocol())
    while octets and not transport.is_closing():
        room = memoryview(layer.get_buffer(len(octets)))
        taken = min(len(room), len(octets))
        room[:taken] = octets[:taken]
        layer.buffer_updated(taken)
        octets = octets[taken:]
