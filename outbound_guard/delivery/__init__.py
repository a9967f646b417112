"""Where mail goes: the pool of smarthosts that is asked for, or, if the configuration says so, a directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Config, ConfigError, Pool
from outbound_guard.delivery.pool import Health
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.sink import Sink
from outbound_guard.delivery.smarthost import Refused, Smarthosts
from outbound_guard.mail import Envelope

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
    ) -> None:
        """`hostname` is what we call ourselves; `count` and `refused` see Smarthosts.

        Raises ConfigError, OSError (sink).
        """
        self._sink: Sink | None = None
        self._pools: dict[str, Smarthosts] = {}
        if config.delivery.mode == "direct":
            raise ConfigError('delivery.mode: "direct" cannot be used yet; name smarthosts, or say "sink"')
        if config.delivery.mode == "sink":
            self._sink = Sink(config.data_dir / "sink", clock)
            return
        for pool in config.delivery.pool:
            if pool.name in self._pools:
                raise ConfigError(f"delivery.pool: there are two with the name {pool.name!r}")
            if pool.smarthosts:
                self._pools[pool.name] = Smarthosts(
                    _absolute(config, pool), hostname=hostname, clock=clock, count=count, refused=refused
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
        for name, smarthosts in self._pools.items():
            smarthosts.rest(pools.get(name, frozenset()))

    def health(self) -> dict[str, list[Health]]:
        """Every smarthost by the name of its pool; empty with a sink."""
        return {name: smarthosts.health() for name, smarthosts in self._pools.items()}

    def healthy(self) -> dict[str, bool]:
        """For each pool, whether one of its smarthosts is thought to work."""
        return {name: smarthosts.healthy() for name, smarthosts in self._pools.items()}

    async def close(self) -> None:
        """Take leave of all next hops; takes a few seconds at most."""
        await asyncio.gather(*(smarthosts.close() for smarthosts in self._pools.values()))


def _absolute(config: Config, pool: Pool) -> Pool:
    names = {name: str(config.resolve(path)) for name in ("ca_file", "password_file") if (path := getattr(pool, name))}
    return msgspec.structs.replace(pool, **names)
