"""The addresses of a pool that mail leaves from: whose turn it is, by their weights, and what each says in EHLO.

A turn is that of a message, not of a connection: every message costs its address 1/weight, and a new connection comes
from the address that has paid least. A connection that is open is used again as long as its address is not too far
ahead of the others. This is start-time fair queueing: an address that was out of use for a while begins where the
others are, and does not get all mail until it has caught up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence

from outbound_guard.config import Address, ConfigError, Pool
from outbound_guard.delivery.warming import Warming

AHEAD = 10.0
"""Messages (of an address of weight 1) by which one may be ahead before a connection from another is opened."""

LOST_SECONDS = 60.0
"""So long an address is not bound that this machine has not, or has no more."""
_NO_WARMING = Warming((), (), 0.0)

_log = logging.getLogger(__name__)


class Sources:
    """The addresses of one pool. One event loop uses it."""

    def __init__(self, pool: Pool, tables: Sequence[Address] = (), warming: Warming = _NO_WARMING) -> None:
        """`tables` is what is special about some addresses, of this pool or others. Raises ValueError."""
        self.addresses = tuple(str(ipaddress.ip_address(source)) for source in pool.source_addresses)
        special = {str(ipaddress.ip_address(table.address)): table for table in tables}
        self.helo: dict[str | None, str] = {
            source: table.helo for source in self.addresses if (table := special.get(source)) and table.helo
        }
        """What is said in EHLO, of those that have a name of their own."""
        self.warming = any(source in warming.addresses for source in self.addresses)
        """True if one of them may send only so much today."""
        self._warming = warming
        self._lost: set[str | None] = set()
        self._cost = {source: 1.0 / special[source].weight for source in self.addresses if source in special}
        self._paid = dict.fromkeys(self.addresses, 0.0)
        self._least = [0.0, 0.0]
        """What each of those that might be used had paid at least when it was asked last: of IPv4, of IPv6."""

    def fitting(self, version: int) -> tuple[str, ...]:
        """Those of IPv4 (4) or IPv6 (6)."""
        return tuple(source for source in self.addresses if ipaddress.ip_address(source).version == version)

    def next(self, among: Sequence[str]) -> str:
        """Whose turn it is among these of one kind, at least one; it pays for a message."""
        # Of those that were left behind together the one that has paid least.
        found = min(among, key=lambda source: (self._begun(source), self._paid[source]))
        self.pay(found, among)
        return found

    def pay(self, source: str, among: Sequence[str]) -> None:
        """One more message goes from this address, while these might be used."""
        if len(self.addresses) < 2:
            return
        start = self._begun(source)
        # Who may not be used now has no turns to catch up with later.
        self._least[":" in source] = min([self._begun(one) for one in among], default=start)
        self._paid[source] = start + self._cost.get(source, 1.0)

    def ahead(self, source: str, among: Sequence[str]) -> bool:
        """True if a message should rather go from another one of these."""
        return self._begun(source) - AHEAD > min(map(self._begun, among))

    def _begun(self, source: str) -> float:
        """What it has paid, or what all others have, if it was out of use for a while."""
        return max(self._paid.get(source, 0.0), self._least[":" in source])

    @property
    def limited(self) -> bool:
        """True if there may be one that is `spent`."""
        return self.warming or bool(self._lost)

    def spent(self, source: str | None) -> bool:
        """True if this one has sent what its warm-up allows for today, or is lost."""
        return source in self._lost or (self.warming and self._warming.spent(source))

    def lost(self, source: str | None) -> bool:
        """True if this machine has not this address, as was found of late."""
        return source in self._lost

    def lose(self, source: str, why: str) -> None:
        """This machine has not this address: it is not used for a while."""
        if source not in self._lost:
            self._lost.add(source)
            asyncio.get_running_loop().call_later(LOST_SECONDS, self._lost.discard, source)
            _log.warning("source address %s cannot be used for %.0f s: %s", source, LOST_SECONDS, why)

    def give_back(self, source: str | None) -> None:
        """It was not offered after all."""
        if self.warming:
            self._warming.spend(source, -1)

    def spend(self, source: str | None) -> None:
        """A message is offered from this one."""
        if self.warming:
            self._warming.spend(source)


def sources_of(pool: Pool, tables: Sequence[Address] = (), warming: Warming = _NO_WARMING) -> Sources:
    """The addresses of a pool. Raises ConfigError."""
    try:
        return Sources(pool, tables, warming)
    except ValueError as error:
        raise ConfigError(f"delivery.pool {pool.name!r}: {error}") from error
