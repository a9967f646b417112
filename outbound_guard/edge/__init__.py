"""Listening: SMTP sessions become Submissions. The only part of the house that knows aiosmtpd."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Listener
from outbound_guard.edge.guesses import Guesses
from outbound_guard.edge.listening import Listening
from outbound_guard.edge.passwords import Passwords
from outbound_guard.edge.room import Room
from outbound_guard.edge.session import Session
from outbound_guard.edge.sessions import Sessions
from outbound_guard.edge.terms import Terms
from outbound_guard.edge.tls import Certificate, certificate_of, check, tls_context
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply

__all__ = [
    "Certificate",
    "Edge",
    "Guesses",
    "Listening",
    "Passwords",
    "Room",
    "Sessions",
    "certificate_of",
    "check",
    "tls_context",
]


class Edge:
    """One listener: `Listening(sock, edge.protocol, sessions)`."""

    def __init__(
        self,
        config: Config,
        listener: Listener,
        *,
        hostname: str,
        clock: Clock,
        accept: Callable[[Submission], Awaitable[Reply]],
        admit: Callable[[str], Reply | None],
        passwords: Passwords | None,
        sessions: Sessions,
        tls: ssl.SSLContext | None,
        count: Callable[..., None],
        suppressed: Callable[[str, str], Reply | None] = lambda *_: None,
    ) -> None:
        """`accept` decides on a message, and must answer 2xx only when it is safe; if it raises, the client gets 451.

        `admit` says whether a login or an envelope sender may send: None, or the refusal. `count(name, *labels)` adds
        one to a metric. `tls` is what `tls_context` made of this listener. `suppressed` has the refusal for a recipient
        that somebody with this login is not to write to.
        """
        self.terms = Terms(
            config,
            listener,
            hostname=hostname,
            clock=clock,
            accept=accept,
            admit=admit,
            passwords=passwords,
            sessions=sessions,
            tls=tls,
            count=count,
            suppressed=suppressed,
        )

    def protocol(self) -> asyncio.Protocol:
        """A new session, for a new connection."""
        return Session(self.terms)
