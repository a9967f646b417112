"""The mail servers of one destination, as next hops: their connections, and the TLS they must be known by."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Pool
from outbound_guard.delivery.attempt import Attempt
from outbound_guard.delivery.carrying import carry
from outbound_guard.delivery.connecting import Terms, checked, connect, greeting_name, terms_of, unchecked
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.hops import SWEEP_SECONDS, Count, Hops, Refused, put_off
from outbound_guard.delivery.pool import Host
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.routing import Demand, Route, Server
from outbound_guard.delivery.sources import Sources, sources_of
from outbound_guard.delivery.wire import Mail
from outbound_guard.reply import NO_NEXT_HOP, Reply


class Dialling:
    """How the servers of the world are called from one pool."""

    def __init__(
        self,
        pool: Pool,
        *,
        hostname: str,
        port: int,
        connections: int,
        clock: Clock,
        count: Count,
        refused: Refused,
        sources: Sources | None = None,
    ) -> None:
        """`connections`: the most to one server, and to all of one destination. `sources` see Smarthosts. Raises
        ConfigError."""
        # A login is for smarthosts: nobody else gets to see the password.
        self._terms = terms_of(msgspec.structs.replace(pool, user="", password_file=""), hostname)
        self._terms = msgspec.structs.replace(
            self._terms,
            # RFC 5321 4.5.3.2: five minutes for a greeting, ten for the end of data.
            greeting_seconds=pool.reply_seconds,
            final_seconds=2 * pool.reply_seconds,
        )
        self._checked, self._unchecked = checked(pool), unchecked()
        self._sources = sources or sources_of(pool)
        self._helo = {source: greeting_name(helo) for source, helo in self._sources.helo.items()}
        self._port, self._connections, self._clock = port, connections, clock
        self._count, self._refused = count, refused
        self._siblings: dict[str, list[Host]] = {}

    def reaches(self, address: str) -> bool:
        """True if the pool has an address to come from, of the kind of `address`."""
        return not self._sources.addresses or bool(self._fitting(address))

    def hops(self, hosts: list[Host], servers: dict[Host, Server]) -> Hops:
        """The next hops `hosts`; `servers` says what each is."""

        async def opened(host: Host, source: str | None, lost: Callable[[Connection], None]) -> Connection:
            server = servers[host]
            terms = self._terms_for(server.demand)
            if helo := self._helo.get(source):
                terms = msgspec.structs.replace(terms, hostname=helo)
            # An address in brackets is its own name.
            return await connect(terms, server.name.strip("[]"), self._port, source, lost, server.address)

        return Hops(
            hosts,
            opened,
            count=self._count,
            refused=self._refused,
            sweep_seconds=min(SWEEP_SECONDS, self._terms.reply_seconds / 4),
            connections=self._connections,
        )

    def host(self, server: Server) -> Host:
        """A server as a next hop."""
        siblings = self._siblings.setdefault(server.address, [])
        if len(self._siblings) > 10_000:
            self._siblings = {address: hosts for address, hosts in self._siblings.items() if hosts or hosts is siblings}
        return Host(
            f"{server.name}:{self._port}",
            server.address,
            self._port,
            self._fitting(server.address),
            self._connections,
            self._clock,
            rank=server.rank,
            siblings=siblings,
            level=logging.INFO,  # That one of the world's servers is down is no news.
            turns=self._sources,
        )

    def _fitting(self, address: str) -> tuple[str, ...]:
        return self._sources.fitting(ipaddress.ip_address(address).version)

    def _terms_for(self, demand: Demand) -> Terms:
        tls: ssl.SSLContext = self._checked if demand.kind == "named" else self._unchecked
        if demand.kind == "may":
            return self._terms
        return msgspec.structs.replace(self._terms, tls=tls, required=True, tlsa=demand.tlsa)


class Destination:
    """Servers that the mail of one or more domains goes to."""

    def __init__(self, route: Route, dialling: Dialling, rest: frozenset[str]) -> None:
        """`rest`: addresses of ours that are not to be used now."""
        self._dialling, self._rest = dialling, rest
        self._route = route
        self._servers: dict[Host, Server] = {}
        self.last_used = 0.0
        """Unix seconds; set by who uses it."""
        self.hops = dialling.hops(self._hosts(route), self._servers)
        self.hops.rest(rest)

    def use(self, route: Route) -> None:
        """The DNS may say something new about the same servers."""
        # Two domains that share them may have been looked up at different times.
        if route is self._route or route.found <= self._route.found:
            return
        self._route = route
        self.hops.use(self._hosts(route))
        self.hops.rest(self._rest)

    def rest(self, addresses: frozenset[str]) -> None:
        """Send from the other addresses of the pool."""
        self._rest = addresses
        self.hops.rest(addresses)

    async def send(self, mail: Mail, until: float) -> tuple[Result, list[Reply]]:
        """One transaction; the second value is what was said instead of greetings. `until` see Attempt."""
        attempt = Attempt(mail, until)
        result = await carry(self.hops, mail, attempt)
        if NO_NEXT_HOP in result.replies:
            why = self._why()
            replies = tuple(why if reply is NO_NEXT_HOP else reply for reply in result.replies)
            result = msgspec.structs.replace(result, replies=replies)
        return put_off(result), attempt.heard

    def _hosts(self, route: Route) -> list[Host]:
        """The hosts of a route that can be reached; those that are there already stay what they are."""
        known = {(server.name, server.address): host for host, server in self._servers.items() if not host.retired}
        hosts = []
        for server in route.servers:
            if not self._dialling.reaches(server.address):
                continue
            host = known.get((server.name, server.address)) or self._dialling.host(server)
            host.rank = server.rank
            self._servers[host] = server
            hosts.append(host)
        for host in [host for host in self._servers if host not in hosts and not host.alive()]:
            del self._servers[host]
        return hosts

    def _why(self) -> Reply:
        """Why no server can be reached."""
        for host in self.hops.hosts:
            reason, text = host.trouble
            if reason == "tls":
                return Reply(451, "4.7.5", f"OG-TLS no session with {host.name} that is secure enough: {text}")
            if reason:
                return Reply(451, "4.4.1", f"OG-NEXTHOP {host.name}: {text}")
        return NO_NEXT_HOP
