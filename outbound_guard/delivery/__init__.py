"""Where mail goes: by the pool of its sender's class to its smarthosts or to the servers of each domain, or, if the
configuration says so, into a directory.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config, ConfigError, Pool
from outbound_guard.delivery.choosing import UNKNOWN, Choice
from outbound_guard.delivery.hops import LOST, SPENT, Refused
from outbound_guard.delivery.pool import Health
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.sink import Sink
from outbound_guard.delivery.smarthost import Smarthosts
from outbound_guard.delivery.sources import Sources, sources_of
from outbound_guard.delivery.turn import FINE, SEVERAL, Outlook
from outbound_guard.delivery.warming import Warming
from outbound_guard.mail import Envelope, domain_of

if TYPE_CHECKING:
    from outbound_guard.delivery.direct import Direct
    from outbound_guard.delivery.finding import Finding

__all__ = ["Delivery", "Health", "Result"]

_SAID_SECONDS = 60.0
"""The log is told of the same trouble of a pool at most so often."""

_log = logging.getLogger(__name__)


class Delivery:
    """The one door for mail that leaves. `send` never raises for what the network does."""

    def __init__(
        self,
        config: Config,
        *,
        hostname: str,
        clock: Clock,
        count: Callable[..., None],
        refused: Refused = lambda *_: None,
        patience: float = math.inf,
        https: int = 443,
        processes: int = 1,
    ) -> None:
        """`hostname` is what we call ourselves; `count` and `refused` see Smarthosts, `patience` see Direct. `https` is
        the port that domains have their MTA-STS policies at. `processes`: how many send from the same addresses.

        Raises ConfigError, OSError (sink).
        """
        self._sink: Sink | None = None
        self._pools: dict[str, Smarthosts | Direct] = {}
        self._finding: Finding | None = None
        self._clock, self._count = clock, count
        self._said: dict[str, float] = {}
        """When the log was told last of a pool (unix seconds)."""
        special = config.delivery.address
        self._sources: dict[str, Sources] = {}
        self._resting: Mapping[str, frozenset[str]] = {}
        self.warming = Warming(special, config.delivery.warm_up, clock.now(), processes)
        if config.delivery.mode == "sink":
            self._sink = Sink(config.data_dir / "sink", clock)
            return
        direct = config.delivery.mode == "direct"
        for named in config.delivery.pool or ((Pool(),) if direct else ()):
            if named.name in self._pools:
                raise ConfigError(f"delivery.pool: there are two with the name {named.name!r}")
            pool = _absolute(config, named)
            sources = self._sources[pool.name] = sources_of(pool, special, self.warming)
            if pool.smarthosts:
                self._pools[pool.name] = Smarthosts(
                    pool, hostname=hostname, clock=clock, count=count, refused=refused, sources=sources
                )
            elif direct:
                # Only this needs the DNS and https: other processes, and commands, start sooner without.
                from outbound_guard.delivery.direct import Direct
                from outbound_guard.delivery.finding import Finding

                if self._finding is None:
                    self._finding = Finding(config, pool, hostname=hostname, clock=clock, https=https)
                self._pools[pool.name] = Direct(
                    pool,
                    self._finding.routes,
                    hostname=hostname,
                    port=config.delivery.port,
                    connections=config.delivery.connections,
                    clock=clock,
                    count=count,
                    refused=refused,
                    patience=patience,
                    sources=sources,
                )
        if not self._pools:
            raise ConfigError("delivery.pool: no smarthost is named")
        self.choice = Choice([pool for pool in config.delivery.pool if pool.name in self._pools] or (Pool(),))

    async def send(self, envelope: Envelope, content: Sequence[bytes], pool: str = "", class_: str = "") -> Result:
        """Deliver by the pool of the sender's class, or by the `pool` that it is pinned to; a reply for each recipient.

        Recipients for whom that whole pool refuses our own address, or has none that may be used now, are tried for by
        the others that such mail may go by (choosing.py). `content` is the message in pieces, CRLF line ends, not
        dot-stuffed.
        """
        if self._sink is not None:
            return await self._sink.deliver(envelope, content)
        if pool and pool not in self._pools:
            self._count("pins_lost_total")
            self._say(pool, "mail is pinned to pool %s, which does not exist; it goes by its class", pool)
        first, *others = self.choice.way(class_, pool)
        self._count("pool_messages_total", first, class_ or UNKNOWN)
        result = await self._pools[first].send(envelope, content)
        if not result.listed:
            return result
        for other in others:
            if not result.listed:
                break
            self._cannot(first, result, other)
            self._count("pool_moves_total", first, other)
            recipients = tuple(envelope.recipients[place] for place in result.listed)
            rest = msgspec.structs.replace(envelope, recipients=recipients)
            result = result.followed_by(await self._pools[other].send(rest, content))
        if result.listed:
            self._cannot(first, result)
            self._count("pool_moves_total", first, "")
            if all(reply is SPENT for reply in result.replies):
                return msgspec.structs.replace(
                    result, wait=self.warming.wait(self._clock.now(), self._sources[first].addresses)
                )
        return result

    def _cannot(self, pool: str, result: Result, other: str = "") -> None:
        """Say in the log that a pool cannot carry its mail, and what becomes of that."""
        spent = any(result.replies[place] is SPENT for place in result.listed)
        why = "its addresses have sent what their warm-up allows" if spent else "its addresses are refused"
        if any(result.replies[place] is LOST for place in result.listed):
            why = "this machine has not its addresses"
        then = f"mail goes by pool {other}" if other else "mail waits in the queue"
        self._say(f"{pool} {other}", "pool %s cannot carry its mail now, since %s: %s", pool, why, then)

    def _say(self, about: str, text: str, *words: str) -> None:
        now = self._clock.now()
        if not 0 <= now - self._said.get(about, -_SAID_SECONDS) < _SAID_SECONDS:
            self._said[about] = now
            _log.warning(text, *words)

    def rest(self, pools: Mapping[str, frozenset[str]]) -> None:
        """Which source addresses are not to be used now, by the name of their pool; all others are."""
        self._resting = pools
        for name, hops in self._pools.items():
            hops.rest(pools.get(name, frozenset()))

    def usable(self) -> dict[str, int]:
        """How many source addresses of each pool that has some neither rest nor have sent enough for today."""
        return {
            name: sum(not sources.spent(one) for one in sources.addresses if one not in self._resting.get(name, ()))
            for name, sources in self._sources.items()
            if sources.addresses
        }

    def destination(self, recipients: Sequence[str], pool: str = "", class_: str = "") -> str:
        """Where mail for them goes, as `outlook` knows it: its pool and, in direct delivery, the domain. See `send`."""
        if self._sink is not None:
            return ""
        first = self.choice.way(class_, pool)[0]
        if isinstance(self._pools[first], Smarthosts):
            return sys.intern(f"{first} ")
        domains = {domain_of(recipient) for recipient in recipients}
        return sys.intern(f"{first} {domains.pop() if len(domains) == 1 else SEVERAL}")

    def outlook(self, destination: str) -> Outlook:
        """What a destination can take now."""
        pool, _, domain = destination.partition(" ")
        return self._pools[pool].outlook(domain) if pool in self._pools else FINE

    def health(self) -> dict[str, list[Health]]:
        """Every next hop by the name of its pool; empty with a sink."""
        return {name: hops.health() for name, hops in self._pools.items()}

    def healthy(self) -> dict[str, bool]:
        """For each pool, whether one of its next hops is thought to work."""
        return {name: hops.healthy() for name, hops in self._pools.items()}

    async def close(self) -> None:
        """Take leave of all next hops; takes a few seconds at most."""
        await asyncio.gather(*(hops.close() for hops in self._pools.values()))
        if self._finding:
            await self._finding.close()


def _absolute(config: Config, pool: Pool) -> Pool:
    names = {name: str(config.resolve(path)) for name in ("ca_file", "password_file") if (path := getattr(pool, name))}
    return msgspec.structs.replace(pool, **names)
