"""The connections to one next hop: which are idle, whether more may be opened, and its back-off after failures."""

from __future__ import annotations

import ipaddress
import logging
import secrets

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import ConfigError, Pool, host_port
from outbound_guard.delivery.connection import Connection

IDLE_SECONDS = 30.0
MESSAGES = 1000
"""After so many a connection is closed, so that changes at the next hop (addresses, balancing) take effect."""
BACK_OFF = (1.0, 60.0)
"""Seconds after the first failure, and at most."""
REFUSED_SECONDS = 900.0
"""So long an address of ours is not used with a host that has refused it, if there is another."""
_SAID_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Health(msgspec.Struct, frozen=True):
    """One next hop, for metrics and for people."""

    host: str
    """`host:port`"""
    healthy: bool
    failures: int
    """In a row."""
    busy: int
    idle: int


class Host:
    """One next hop: a smarthost, or one address of a domain's mail server."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        sources: tuple[str, ...],
        limit: int,
        clock: Clock,
        *,
        rank: int = 0,
        siblings: list[Host] | None = None,
        level: int = logging.WARNING,
    ) -> None:
        """`sources` are local addresses to bind in turn; `limit` is the largest number of connections.

        Of several hosts those of the lowest `rank` are used first. `siblings` are those that are the same machine, this
        one included: they have the limit in common. `level` is that of the log for its failures.
        """
        self.name = name
        self.rank = rank
        self.retired = False
        """True if no message is to go there any more."""
        self.trouble = ("", "")
        """Reason and text of the last failure, while it lasts."""
        self._level = level
        self._siblings = [self] if siblings is None else siblings
        if siblings is not None:
            siblings.append(self)
        self.host = host
        self.port = port
        self.connections: set[Connection] = set()
        self.opening = 0
        self.failures = 0
        self.probing = False
        """True while one sender tries whether the host works again; the others wait or go elsewhere."""
        self.refused: dict[str | None, float] = {}
        """When it refused which of our addresses (unix seconds)."""
        self.resting: frozenset[str] = frozenset()
        """Those of our addresses that it is not to be reached from."""
        self._all_sources = self._sources = sources
        self._next_source = 0
        self._limit = limit
        self._clock = clock
        self._idle: list[Connection] = []
        self._failed_at = self._retry_at = 0.0
        self._said_at = 0.0

    def take(self) -> Connection | None:
        """The idle connection that was used last, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if (self.refused or self.resting) and self.avoids(connection.source):
                connection.quit()
            elif connection.ready:
                return connection
        return None

    def may_open(self) -> bool:
        """True if one more connection may be opened now."""
        if sum([len(host.connections) + host.opening for host in self._siblings]) >= self._limit:
            return False
        return not self.failures or (not self.probing and not self._backing_off())

    def alive(self) -> bool:
        """True if a connection may become free."""
        return bool(self.connections or self.opening)

    def healthy(self) -> bool:
        """False from a failure on until a message goes through, unless other connections still work."""
        return not self.failures or bool(self.connections)

    def health(self) -> Health:
        """What is to be seen from outside."""
        idle = len(self._idle)
        return Health(self.name, self.healthy(), self.failures, len(self.connections) - idle + self.opening, idle)

    def source(self) -> str | None:
        """The local address to bind next, or None for the system's choice."""
        if not self._sources:
            return None
        self._next_source += 1
        turn = self._next_source % len(self._sources)
        if not self.refused:
            return self._sources[turn]
        # If it has refused all, the one whose refusal is oldest.
        return min((*self._sources[turn:], *self._sources[:turn]), key=self._refused_at)

    def refuses(self, source: str | None, text: str) -> bool:
        """It has refused an address of ours, saying `text`. True if it has not refused another one.

        Then this one is not used here for a while, and its idle connections go.
        """
        now = self._clock.now()
        self.refused[source] = now
        if not 0 <= now - self._said_at < _SAID_SECONDS:
            self._said_at = now
            line = " ".join(text.split())[:300]
            _log.warning("next hop %s refuses our address %s: %s", self.name, source or "(the system's choice)", line)
        if not self.has_address():
            return False
        self._leave()
        return True

    def rest(self, addresses: frozenset[str]) -> None:
        """These addresses of ours are not used from now on; if it would be left with none, they are all the same.

        Their idle connections go at once, the others after their transaction.
        """
        in_use = tuple(source for source in self._all_sources if source not in addresses)
        self._sources = in_use or self._all_sources
        self.resting = frozenset(self._all_sources) - frozenset(self._sources)
        self._leave()

    def has_address(self) -> bool:
        """True if there is an address to bind that it has not refused of late."""
        return any(not self._refused_at(source) for source in self._sources)

    def avoids(self, source: str | None) -> bool:
        """True if no connection from it is to be used: it rests, or it was refused of late and another was not."""
        if source in self.resting:
            return True
        return bool(self.refused) and bool(self._refused_at(source)) and self.has_address()

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next sender."""
        connection.idle_since = self._clock.now()
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def works(self) -> None:
        """A transaction went through."""
        if self.failures:
            _log.info("next hop %s works again", self.name)
            self.failures = 0
            self.trouble = ("", "")
        self.probing = False

    def fails(self, reason: str, text: str) -> None:
        """A connection could not be set up, or broke: no new one for a while, longer each time."""
        self.probing = False
        if self.failures and self._backing_off():
            return  # Connections that break together are one failure.
        self.failures += 1
        least, most = BACK_OFF
        # The jitter keeps many processes from coming back at the same moment.
        wait = min(most, least * 2.0 ** min(self.failures - 1, 10)) * (1 + secrets.randbelow(250) / 1000)
        self._failed_at = self._clock.now()
        self._retry_at = self._failed_at + min(most, wait)
        line = " ".join(text.split())[:300]  # A next hop's reply may have many lines; a log entry has one.
        self.trouble = (reason, line)
        where = self.name if self.host in self.name else f"{self.name} [{self.host}]"
        _log.log(self._level, "next hop %s: %s: %s; no new connection for %.1f s", where, reason, line, min(most, wait))

    def sweep(self, loop_now: float) -> None:
        """Give overdue connections up and close those that were idle for long. `loop_now` is the loop's time."""
        for connection in list(self.connections):
            connection.check(loop_now)
        now = self._clock.now()
        while self._idle and not 0 <= now - self._idle[0].idle_since < IDLE_SECONDS:
            self._idle.pop(0).quit()

    def retire(self) -> None:
        """No message goes there any more: idle connections end now, the others after their transaction."""
        self.retired = True
        if self in self._siblings:
            self._siblings.remove(self)
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.quit()

    def close(self) -> None:
        """Take leave on every idle connection and break the others off."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.quit()
        for connection in self.connections - set(idle):
            connection.abort()

    def _leave(self) -> None:
        """Close the idle connections from addresses that are not to be used."""
        for connection in [idle for idle in self._idle if self.avoids(idle.source)]:
            self._idle.remove(connection)
            connection.quit()

    def _refused_at(self, source: str | None) -> float:
        """When it refused this address (unix seconds); 0 if it did not, or long ago."""
        at = self.refused.get(source)
        if at is None:
            return 0.0
        # A clock that was set back must not make the time longer.
        if at <= self._clock.now() < at + REFUSED_SECONDS:
            return at
        del self.refused[source]
        return 0.0

    def _backing_off(self) -> bool:
        # A clock that was set back must not make the wait longer.
        return self._failed_at <= self._clock.now() < self._retry_at


def host_of(name: str, pool: Pool, clock: Clock) -> Host:
    """The host `HOST:PORT` of a pool. Raises ConfigError (its name, or source addresses that cannot reach it)."""
    try:
        host, port = host_port(name)
        sources = tuple(str(ipaddress.ip_address(source)) for source in pool.source_addresses)
    except ValueError as error:
        raise ConfigError(f"delivery.pool {pool.name!r}: {error}") from error
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass  # A name may have addresses of both kinds; the system's resolver says which fits.
    else:
        fitting = tuple(source for source in sources if ipaddress.ip_address(source).version == version)
        if sources and not fitting:
            raise ConfigError(f"delivery.pool {pool.name!r}: none of source_addresses can be used with {name}")
        sources = fitting
    return Host(name, host, port, sources, pool.connections, clock)
