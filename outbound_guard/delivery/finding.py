"""What direct delivery finds its way by, the same for all pools: the DNS, the policies of domains, routes."""

from __future__ import annotations

from outbound_guard.clock import Clock
from outbound_guard.config import Config, Pool, host_port, networks
from outbound_guard.delivery.connecting import checked
from outbound_guard.delivery.mta_sts import Policies
from outbound_guard.delivery.routing import Routes, allowed
from outbound_guard.dns import Records


class Finding:
    """One a process; `routes` is what is asked."""

    def __init__(self, config: Config, pool: Pool, *, hostname: str, clock: Clock, https: int) -> None:
        """`pool` says which authorities are trusted with policies. Raises ConfigError."""
        private = networks(config.delivery.private_networks)
        self._records = Records(config.dns.resolvers, clock, validating=config.dns.validating)
        policies = Policies(
            self._records,
            config.data_dir / "mta-sts",
            clock,
            tls=checked(pool),
            allowed=lambda address: allowed(address, private),
            port=https,
        )
        self.routes = Routes(
            self._records,
            policies,
            clock,
            hostname=hostname,
            port=config.delivery.port,
            private=private,
            listening=[host_port(listener.address) for listener in config.listener],
        )

    async def close(self) -> None:
        """Give up what is being looked for."""
        await self.routes.close()
        await self._records.close()
