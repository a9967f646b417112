"""The connections to one next hop: which are idle, whether more may be opened, and its back-off after failures."""

from __future__ import annotations

import logging
import secrets

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Pool
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.sources import Sources

IDLE_SECONDS = 30.0
MESSAGES = 1000
"""After so many a connection is closed, so that changes at the next hop (addresses, balancing) take effect."""
BACK_OFF = (1.0, 60.0)
"""Seconds after the first failure, and at most."""
LONGEST_OF_OURS = 4.0
"""At most, for a smarthost: it is the operator's own, and all mail waits for it."""
REFUSED_SECONDS = 900.0
"""So long an address of ours is not used with a host that has refused it, if there is another."""
_SAID_SECONDS = 60.0
_PROBING_SECONDS = 0.25
"""After so many it is worth looking what a sender has found out who tries whether a host works again."""

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
        turns: Sources | None = None,
        longest: float = BACK_OFF[1],
    ) -> None:
        """`sources` are local addresses to bind in turn; `limit` is the largest number of connections. `turns` says
        whose turn it is, of all addresses of the pool.

        Of several hosts those of the lowest `rank` are used first. `siblings` are those that are the same machine, this
        one included: they have the limit in common. `level` is that of the log for its failures. After these it is left
        alone for `longest` seconds at most.
        """
        self.name = name
        self.rank = rank
        self.retired = False
        """True if no message is to go there any more."""
        self.trouble = ("", "")
        """Reason and text of the last failure, while it lasts."""
        self._level, self._longest = level, longest
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
        self._turns = turns or Sources(Pool(source_addresses=sources))
        self._limit = limit
        self._clock = clock
        self._idle: list[Connection] = []
        self._failed_at = self._retry_at = 0.0
        self._said_at = 0.0

    def take(self) -> Connection | None:
        """The idle connection that was used last, if there is one."""
        while self._idle:
            connection = self._idle.pop(self._fair())
            if (self.refused or self.resting or self._turns.limited) and self.avoids(connection.source):
                connection.quit()
            elif connection.ready:
                self.used(connection.source)
                return connection
        return None

    def balanced(self) -> bool:
        """False if all idle connections are from addresses that have had more than their turn."""
        if len(self._sources) < 2 or not self._idle:
            return True
        source = self._idle[self._fair()].source
        return source is None or not self._turns.ahead(source, self._open_to())

    def _fair(self) -> int:
        """The place of the idle connection to use: the last one whose address has not had more than its turn."""
        if len(self._sources) > 1 and len(self._idle) > 1:
            among = self._open_to()
            for place in range(len(self._idle) - 1, -1, -1):
                source = self._idle[place].source
                if source is None or not self._turns.ahead(source, among):
                    return place
        return -1

    def used(self, source: str | None) -> None:
        """A message goes over a connection that was open, from this address."""
        if source is not None:
            self._turns.pay(source, self._open_to())
            self._turns.spend(source)

    def may_open(self) -> bool:
        """True if one more connection may be opened now."""
        if self.spent():
            return False
        if sum([len(host.connections) + host.opening for host in self._siblings]) >= self._limit:
            return False
        return not self.failures or (not self.probing and not self._backing_off())

    def alive(self) -> bool:
        """True if a connection may become free."""
        return bool(self.connections or self.opening)

    def healthy(self) -> bool:
        """False from a failure on until a message goes through, unless other connections still work."""
        return not self.failures or bool(self.connections)

    def away(self) -> float:
        """Seconds until it may be asked whether it works again; 0: now."""
        if self.probing or self.opening:
            return _PROBING_SECONDS
        return self._retry_at - self._clock.now() if self._backing_off() else 0.0

    def health(self) -> Health:
        """What is to be seen from outside."""
        idle = len(self._idle)
        return Health(self.name, self.healthy(), self.failures, len(self.connections) - idle + self.opening, idle)

    def source(self) -> str | None:
        """The local address to bind next, for one message; None for the system's choice."""
        if not self._sources:
            return None
        among = self._open_to()
        if self.refused and self._refused_at(among[0]):
            # It has refused all: the one whose refusal is oldest.
            found = min(among, key=self._refused_at)
        else:
            found = self._turns.next(among)
        # Counted now: others open connections at the same time.
        self._turns.spend(found)
        return found

    def spent(self) -> bool:
        """True if no address of ours may be used now: all are lost, or have sent what they may today."""
        return self._turns.limited and bool(self._sources) and all(map(self._turns.spent, self._sources))

    def lost(self) -> bool:
        """True if this machine has not an address of ours (any more)."""
        return any(map(self._turns.lost, self._sources))

    def loses(self, source: str, why: str) -> None:
        """This machine has not this address: it is not used for a while, for no host of the pool."""
        self._turns.lose(source, why)

    @property
    def limited(self) -> bool:
        """True if an address of ours may be one that `avoids` knows."""
        return self._turns.limited

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
        return any(not self._refused_at(source) and not self._turns.spent(source) for source in self._sources)

    def avoids(self, source: str | None) -> bool:
        """True if no connection from it is to be used.

        It rests, has sent enough for today, or it was refused of late and another was not.
        """
        if source in self.resting or self._turns.spent(source):
            return True
        return bool(self.refused) and bool(self._refused_at(source)) and self.has_address()

    def not_opened(self, source: str | None) -> None:
        """No session came of it: what was to go from there did not."""
        self._turns.give_back(source)

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
        least, most = BACK_OFF[0], self._longest
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

    def _open_to(self) -> tuple[str, ...]:
        """The addresses of ours that may be used now; if it has refused all, or all have sent enough, all of them."""
        if not self.refused and not self._turns.limited:
            return self._sources
        free = tuple(source for source in self._sources if not self._turns.spent(source)) or self._sources
        return tuple(source for source in free if not self._refused_at(source)) or free

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
