"""What the sessions of one listener have in common, worked out once."""

from __future__ import annotations

import fnmatch
import functools
import ssl
from collections.abc import Awaitable, Callable, Iterable

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Limits, Listener, contains, networks
from outbound_guard.edge.passwords import Passwords
from outbound_guard.edge.sessions import Sessions
from outbound_guard.edge.xclient import NAMES as XCLIENT
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
        suppressed: Callable[[str, str], Reply | None] = lambda *_: None,
    ) -> None:
        """`dsn`: offer the extension of RFC 3461; the rest as for Edge."""
        self.dsn = dsn
        self.limits: Limits = config.limits
        self.name = listener.address
        self.clock = clock
        self.accept = accept
        self.admit = admit
        self.suppressed = suppressed
        self.passwords = passwords if listener.auth != "none" else None
        self.offered = self.passwords is not None, dsn
        """AUTH, DSN."""
        self.sessions = sessions
        self.tls = tls if listener.tls == "starttls" else None
        self.tls_first = tls if listener.tls == "implicit" else None
        self.secrets_need_tls = listener.tls != "none"
        self.count = count
        self._server_logins = config.auth.server_logins
        # The same few servers connect again and again.
        self.trusts = _looked_up(listener.trusted)
        self.speaks_for_others = _looked_up(listener.proxy_protocol) if listener.proxy_protocol else None
        """Whether an address sends a PROXY header; None if nobody does."""
        self.tells_of_others = _looked_up(listener.xclient) if listener.xclient else None
        """Whether an address may use XCLIENT; None if nobody may."""
        self._greeting_name = hostname
        self.greeting = Reply(220, "", f"{hostname} ESMTP").wire()
        self.helo = Reply(250, "", hostname).wire()
        self._extensions = f"PIPELINING\nSIZE {config.limits.message_size}\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES"
        if dsn:
            self._extensions += "\nDSN"

    def ehlo(self, secure: bool, xclient: bool = False) -> bytes:
        """The answer to EHLO (RFC 5321 4.1.1.1), for a session with or without TLS, to one that may use XCLIENT."""
        lines = [self._greeting_name, self._extensions]
        if self.tls and not secure:
            lines.append("STARTTLS")
        if self.passwords and (secure or not self.secrets_need_tls):
            lines.append("AUTH PLAIN LOGIN")
        if xclient:
            lines.append(f"XCLIENT {XCLIENT}")
        # RFC 2034 3: the answer to EHLO carries no enhanced status code.
        return Reply(250, "", "\n".join(lines)).wire()

    def is_server(self, login: str) -> bool:
        """True if the login belongs to a customer's MTA and not to a sender."""
        return any(fnmatch.fnmatchcase(login, pattern) for pattern in self._server_logins)


def _looked_up(texts: Iterable[str]) -> Callable[[str], bool]:
    """Whether an address lies in one of the networks; what was asked last is remembered."""
    nets = networks(texts)

    def within(address: str) -> bool:
        return contains(nets, address)

    return functools.lru_cache(maxsize=4096)(within)
