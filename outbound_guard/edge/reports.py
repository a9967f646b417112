"""Listening for reports: complaints and bounces, by SMTP or LMTP (RFC 2033), for a few addresses alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Listener
from outbound_guard.edge import paths, transaction
from outbound_guard.edge.session import Session
from outbound_guard.edge.sessions import Sessions
from outbound_guard.edge.terms import Terms
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply

__all__ = ["Reports"]

_CONNECTIONS, _FROM_ADDRESS = 100, 20
"""At once; reports are few, and each may be large."""
_UNKNOWN = Reply(550, "5.1.1", "No such address for reports").wire()


class Reports:
    """The listener: `loop.create_server(reports.protocol, sock=sock)`."""

    def __init__(
        self,
        config: Config,
        *,
        hostname: str,
        clock: Clock,
        accept: Callable[[Submission], Awaitable[Reply]],
        count: Callable[..., None],
    ) -> None:
        """`accept` answers 2xx when a report is dealt with; if it raises, the client gets 451 and keeps it."""
        settings = config.feedback
        limits = msgspec.structs.replace(
            config.limits,
            message_size=settings.message_size,
            connections=_CONNECTIONS,
            connections_per_address=_FROM_ADDRESS,
        )
        self.sessions = Sessions(limits)
        self._recipients = frozenset(name.lower() for name in settings.recipients)
        self._terms = Terms(
            msgspec.structs.replace(config, limits=limits),
            Listener(address=settings.address, trusted=settings.networks),
            hostname=hostname,
            clock=clock,
            accept=accept,
            admit=lambda name: None,
            passwords=None,
            sessions=self.sessions,
            tls=None,
            count=count,
            # What is handed in here goes no further, so there is nothing to report about it.
            dsn=False,
        )

    def protocol(self) -> asyncio.Protocol:
        """A new session."""
        return _ReportSession(self._terms, self._recipients)


class _ReportSession(Session):
    """A session in which reports are handed in."""

    _lmtp = False

    def __init__(self, terms: Terms, recipients: frozenset[str]) -> None:
        super().__init__(terms)
        self._taken = recipients

    def obey_at_once(self, octets: bytes) -> None:
        """Leave them all to `obey`."""
        self.leave(octets)

    async def obey(self, line: bytes) -> None:
        """Carry out one command line: what LMTP adds, and who may be written to; all else is as ever."""
        verb, _, argument = line.decode("utf-8", "replace").partition(" ")
        if verb.upper() == "LHLO":
            # RFC 2033 4.1: as EHLO.
            self._lmtp = True
            await self.smtp_EHLO(argument.strip(" \t"))
        elif verb.upper() == "RCPT" and self.mail_from is not None and not self._is_ours(argument):
            transaction.refuse_recipient(self, _UNKNOWN, "recipients")
        else:
            await super().obey(line)

    def _is_ours(self, argument: str) -> bool:
        path = paths.forward_path(argument.strip(" \t")[3:])
        if path is None:
            return True  # The session says what is wrong with it.
        address = path[0].lower()
        local = address.partition("@")[0]
        # A local part alone holds for every domain, also with an extension: fbl+yahoo@.
        return any(name in self._taken for name in (address, local, local.partition("+")[0]))

    @property
    def replies_due(self) -> int:
        """RFC 2033 4.2: one for each recipient that was taken."""
        return len(self.recipients) if self._lmtp else 1
