"""What the sessions of one listener have in common, worked out once."""

from __future__ import annotations

import fnmatch
import functools
import ssl
from collections.abc import Awaitable, Callable

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Limits, Listener, contains, networks
from outbound_guard.edge.passwords import Passwords
from outbound_guard.edge.sessions import Sessions
from outbound_guard.mail import Submission
from outbound_guard.reply import Reply


class Terms:
    """Names, limits and callbacks of a listener, and the answers that depend on nothing else."""

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
        dsn: bool = True,
    ) -> None:
        """`dsn`: offer the extension of RFC 3461; the rest as for Edge."""
        self.dsn = dsn
        self.limits: Limits = config.limits
        self.name = listener.address
        self.clock = clock
        self.accept = accept
        self.admit = admit
        self.passwords = passwords if listener.auth != "none" else None
        self.offered = self.passwords is not None, dsn
        """AUTH, DSN."""
        self.sessions = sessions
        self.tls = tls if listener.tls == "starttls" else None
        self.secrets_need_tls = listener.tls != "none"
        self.count = count
        self._server_logins = config.auth.server_logins
        self._trusted = networks(listener.trusted)
        # The same few servers connect again and again.
        self.trusts = functools.lru_cache(maxsize=4096)(self._trusts)
        self._greeting_name = hostname
        self.greeting = Reply(220, "", f"{hostname} ESMTP").wire()
        self.helo = Reply(250, "", hostname).wire()
        self._extensions = f"PIPELINING\nSIZE {config.limits.message_size}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES"
        if dsn:
            self._extensions += "\nDSN"

    def ehlo(self, secure: bool) -> bytes:
        """The answer to EHLO (RFC 5321 4.1.1.1), for a session with or without TLS."""
        lines = [self._greeting_name, self._extensions]
        if self.tls and not secure:
            lines.append("STARTTLS")
        if self.passwords and (secure or not self.secrets_need_tls):
            lines.append("AUTH PLAIN LOGIN")
        # RFC 2034 3: the answer to EHLO carries no enhanced status code.
        return Reply(250, "", "\n".join(lines)).wire()

    def is_server(self, login: str) -> bool:
        """True if the login belongs to a customer's MTA and not to a sender."""
        return any(fnmatch.fnmatchcase(login, pattern) for pattern in self._server_logins)

    def _trusts(self, address: str) -> bool:
        return contains(self._trusted, address)
