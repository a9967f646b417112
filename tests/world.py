"""The world that mail goes to: a name server of our own, and mail servers on addresses of this machine.

async with World(next_hop, tmp_path) as world:
    mx = await world.server("mx.there.test")             # a recording next hop with an address of its own
    world.domain("there.test", (10, "mx.there.test"))
    result = await world.delivery().send(envelope, content)
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard import config
from outbound_guard.clock import Clock, SystemClock
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.hops import EVENTS
from outbound_guard.reply import Reply
from tests.dnsstub import DnsStub, dns_stub
from tests.nexthop import NextHop

StartHop = Callable[..., Awaitable[NextHop]]


class World:
    """`dns` is the name server; all mail servers listen on `port`."""

    dns: DnsStub

    def __init__(self, next_hop: StartHop, folder: Path) -> None:
        self.port = 0
        self.counted: list[str] = []
        self.refusals: list[tuple[str, str, Reply]] = []
        self._next_hop, self._folder = next_hop, folder
        self._stack = contextlib.AsyncExitStack()
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> World:
        self.dns = await self._stack.enter_async_context(dns_stub())
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def server(self, name: str = "", **options: Any) -> NextHop:
        """A mail server, with the address record of `name`."""
        while True:
            address = f"127.0.7.{next(self._numbers)}"
            try:
                hop = await self._next_hop(host=address, port=self.port, **options)
                break
            except OSError:
                if self.port:
                    raise
        self.port = hop.port
        if name:
            self.dns.names.setdefault(name, []).append(address)
        return hop

    def domain(self, name: str, *servers: tuple[int, str]) -> None:
        """A domain with these MX records."""
        self.dns.records[name, "MX"] = [f"{preference} {host}." for preference, host in servers]

    def config(
        self, pool: config.Pool | None = None, dns: dict[str, Any] | None = None, **delivery: Any
    ) -> config.Config:
        """A configuration for direct delivery to this world."""
        settings = {"port": self.port or 25, "private_networks": ("127.0.0.0/8",), **delivery}
        return config.Config(
            server=config.Server(data_dir="data"),
            delivery=config.Delivery(mode="direct", pool=(pool or config.Pool(reply_seconds=10.0),), **settings),
            dns=config.Dns(resolvers=(self.dns.address,), **(dns or {})),
            path=str(self._folder / "config.toml"),
        )

    def delivery(
        self,
        *args: Any,
        clock: Clock | None = None,
        patience: float = 60.0,
        listeners: tuple[config.Listener, ...] = (),
        https: int = 443,
        **kwargs: Any,
    ) -> Delivery:
        """Delivery to this world, closed at its end; the rest is that of `config`."""
        whole = msgspec.structs.replace(self.config(*args, **kwargs), listener=listeners)
        delivery = Delivery(
            whole,
            hostname="guard.test",
            clock=clock or SystemClock(),
            count=lambda name, *labels: self.counted.append(labels[0]) if name == EVENTS else None,
            refused=lambda *refusal: self.refusals.append(refusal),
            patience=patience,
            https=https,
        )
        self._stack.push_async_callback(delivery.close)
        return delivery
