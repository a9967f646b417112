"""Where mail goes: from the pool that is asked for to its smarthosts or to the servers of each domain, or, if the
configuration says so, into a directory.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config, ConfigError, Pool
from outbound_guard.delivery.hops import Refused
from outbound_guard.delivery.pool import Health
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.sink import Sink
from outbound_guard.delivery.smarthost import Smarthosts
from outbound_guard.mail import Envelope

if TYPE_CHECKING:
    from outbound_guard.delivery.direct import Direct
    from outbound_guard.delivery.finding import Finding

__all__ = ["Delivery", "Health", "Result"]


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
    ) -> None:
        """`hostname` is what we call ourselves; `count` and `refused` see Smarthosts, `patience` see Direct. `https` is
        the port that domains have their MTA-STS policies at.

        Raises ConfigError, OSError (sink).
        """
        self._sink: Sink | None = None
        self._pools: dict[str, Smarthosts | Direct] = {}
        self._finding: Finding | None = None
        if config.delivery.mode == "sink":
            self._sink = Sink(config.data_dir / "sink", clock)
            return
        direct = config.delivery.mode == "direct"
        for named in config.delivery.pool or ((Pool(),) if direct else ()):
            if named.name in self._pools:
                raise ConfigError(f"delivery.pool: there are two with the name {named.name!r}")
            pool = _absolute(config, named)
            if pool.smarthosts:
                self._pools[pool.name] = Smarthosts(pool, hostname=hostname, clock=clock, count=count, refused=refused)
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
                )
        if not self._pools:
            raise ConfigError("delivery.pool: no smarthost is named")
        self._default = self._pools.get("default") or next(iter(self._pools.values()))

    async def send(self, envelope: Envelope, content: Sequence[bytes], pool: str = "") -> Result:
        """Deliver by the pool of that name, else by "default", else by the first; one reply for each recipient.

        Recipients for whom that whole pool refuses our own address are tried for by the others, in the order of the
        configuration. `content` is the message in pieces, CRLF line ends, not dot-stuffed.
        """
        if self._sink is not None:
            return await self._sink.deliver(envelope, content)
        first = self._pools.get(pool, self._default)
        result = await first.send(envelope, content)
        if not result.listed:
            return result
        for other in self._pools.values():
            if other is not first and result.listed:
                recipients = tuple(envelope.recipients[place] for place in result.listed)
                rest = msgspec.structs.replace(envelope, recipients=recipients)
                result = result.followed_by(await other.send(rest, content))
        return result

    def rest(self, pools: Mapping[str, frozenset[str]]) -> None:
        """Which source addresses are not to be used now, by the name of their pool; all others are."""
        for name, hops in self._pools.items():
            hops.rest(pools.get(name, frozenset()))

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
