"""Which servers take a domain's mail: MX and addresses, what may not be one, and how they must be known.

RFC 5321 5.1 and RFC 7505; the demands on a session come from DANE (RFC 7672), which goes first, and from MTA-STS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Network, contains
from outbound_guard.content.urls import registrable
from outbound_guard.delivery import dane
from outbound_guard.delivery.mta_sts import Policies, Policy
from outbound_guard.dns import Found, NoAnswer, Records, ascii_name
from outbound_guard.reply import Reply

MOST_NAMES, MOST_ADDRESSES = 20, 20
"""Of one domain: more MX records, and more addresses of theirs, are not looked at."""
_LEADING_TO_IPV4 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""What a translator makes an IPv4 address of (RFC 6052 3.1: only of one of the internet), and the old form of one."""
_UNSURE_SECONDS = 30.0
"""So long it is believed that a domain cannot be looked up now."""


class Demand(msgspec.Struct, frozen=True):
    """How a server must be known before it gets mail."""

    kind: Literal["may", "encrypted", "named", "dane"]
    """may: by nothing | encrypted: TLS with any certificate | named: a certificate for its name that is trusted |
    dane: one that `tlsa` vouches for"""
    tlsa: tuple[dane.Tlsa, ...] = ()


_MAY = Demand("may")


class Server(msgspec.Struct, frozen=True):
    """One address of a mail server. `rank` 0 is best."""

    rank: int
    name: str
    address: str
    demand: Demand = _MAY


class Route(msgspec.Struct, frozen=True, dict=True):
    """Where the mail of a domain goes."""

    servers: tuple[Server, ...]
    """Best rank first, in no order within a rank; at least one."""
    found: float = 0.0
    """Unix seconds."""

    @cached_property
    def key(self) -> tuple[tuple[int, str, Demand], ...]:
        """The same for domains whose mail can go over the same connections."""
        return tuple(sorted({(server.rank, server.name, server.demand) for server in self.servers}, key=repr))

    @property
    def site(self) -> str:
        """Who runs the servers, as far as their names tell."""
        return registrable(self.servers[0].name)


def allowed(address: str, private: tuple[Network, ...] = ()) -> bool:
    """True if mail may be sent to this address at all: one of the internet, or in a network that is named."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if ip.is_global and any(ip in network for network in _LEADING_TO_IPV4):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if inner is not None and not allowed(str(inner), private):
        return False
    inside = ip.is_multicast or getattr(ip, "is_site_local", False)
    return contains(private, address) or (ip.is_global and not inside)


def no_answer(domain: str, why: str) -> Reply:
    """The DNS does not say now where the mail goes."""
    return Reply(451, "4.4.3", f"OG-DNS the DNS has no answer for {domain}: {why}")


class Routes:
    """Routes by domain, kept for as long as the DNS says."""

    def __init__(
        self,
        records: Records,
        policies: Policies | None,
        clock: Clock,
        *,
        hostname: str,
        port: int,
        private: tuple[Network, ...] = (),
        listening: Sequence[tuple[str, int]] = (),
    ) -> None:
        """`private`: networks of addresses that are not of the internet and may be sent to all the same. `listening`:
        where we take mail in (address, port), so where none may go. `hostname` is what we call ourselves."""
        self._records, self._policies, self._clock = records, policies, clock
        self._hostname, self._port, self._private = hostname.lower().rstrip("."), port, private
        self._listening = [(address, number) for address, number in listening if number == port]
        self._known: dict[str, tuple[float, Route | Reply]] = {}
        self._asking: dict[str, asyncio.Task[Route | Reply]] = {}

    def known(self, domain: str) -> Route | Reply | None:
        """What is known already; None: ask."""
        until, known = self._known.get(domain, (0.0, None))
        return known if until > self._clock.now() else None

    def known_for(self, domain: str) -> float:
        """Seconds for which what is known is believed; 0: ask."""
        return max(0.0, self._known.get(domain, (0.0, None))[0] - self._clock.now())

    async def of(self, domain: str) -> Route | Reply:
        """Where the mail of a domain goes (`[...]`: of an address), or the reply that says why it goes nowhere.

        The caller may stop waiting; the search goes on, and what it finds is kept.
        """
        if (known := self.known(domain)) is not None:
            return known
        asking = self._asking.get(domain)
        if asking is None:
            asking = self._asking[domain] = asyncio.get_running_loop().create_task(self._find(domain))
            asking.add_done_callback(lambda _: self._asking.pop(domain))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Give up what is being looked for."""
        for task in (asking := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _find(self, domain: str) -> Route | Reply:
        search = _Search(self._clock.now())
        try:
            found = await self._route(domain, search)
        except NoAnswer as error:
            found = no_answer(domain, str(error))
        until = search.until
        if isinstance(found, Reply) and found.temporary:
            until = min(until, self._clock.now() + _UNSURE_SECONDS)
        self._known.pop(domain, None)
        self._known[domain] = (until, found)
        if len(self._known) > 50_000:
            del self._known[next(iter(self._known))]
        return found

    async def _route(self, domain: str, search: _Search) -> Route | Reply:
        if domain[:1] == "[":
            return self._literal(domain)
        try:
            name = ascii_name(domain)
        except ValueError:
            return Reply(550, "5.1.2", f"OG-NODOMAIN {domain} is no domain")
        said = search.saw(await self._records.find(name, "MX"))
        if not said.exists:
            return Reply(550, "5.1.2", f"OG-NODOMAIN the domain {domain} does not exist: host not found")
        names = sorted(filter(None, map(_mx, said.records)))[:MOST_NAMES]
        if len(said.records) == 1 and said.records[0].endswith(" ."):
            # RFC 7505 3 and 4.1.
            return Reply(556, "5.1.10", f"OG-NULLMX the domain {domain} does not accept mail (null MX)")
        if not said.records:
            names = [(0, name)]  # RFC 5321 5.1: then the domain itself is its mail server.
        policy, places = await asyncio.gather(
            self._policy(name), asyncio.gather(*(self._addresses(host, said.secure, search) for _, host in names))
        )
        servers: list[Server] = []
        ranks = {preference: rank for rank, preference in enumerate(sorted({preference for preference, _ in names}))}
        for (preference, host), place in zip(names, places, strict=True):
            if host == self._hostname or any(map(self._is_ours, place.addresses)):
                # RFC 5321 5.1: what is not better than ourselves would send it back to us.
                servers = [server for server in servers if server.rank < ranks[preference]]
                search.loops = True
                break
            demand = place.demand
            if demand == _MAY and policy is not None:
                if not policy.names(host):
                    search.unnamed = True
                    continue
                demand = Demand("named")
            usable = [address for address in place.addresses if allowed(address, self._private)]
            search.refused = search.refused or len(usable) < len(place.addresses)
            servers += [Server(ranks[preference], host, address, demand) for address in usable]
        if not servers:
            return search.why(domain)
        random.shuffle(servers)
        servers.sort(key=lambda server: server.rank)
        return Route(tuple(servers[:MOST_ADDRESSES]), self._clock.now())

    def _literal(self, domain: str) -> Route | Reply:
        """RFC 5321 4.1.3: an address in brackets."""
        text = domain.removeprefix("[").removesuffix("]").removeprefix("ipv6:")
        if not allowed(text, self._private) or self._is_ours(text):
            return Reply(550, "5.1.2", f"OG-ADDRESS {domain} is no address that mail is sent to")
        return Route((Server(0, domain, text),))

    async def _policy(self, name: str) -> Policy | None:
        policy = await self._policies.of(name) if self._policies else None
        return policy if policy and policy.mode == "enforce" else None

    async def _addresses(self, host: str, secure: bool, search: _Search) -> _Place:
        """Where a server is. What cannot be found out is noted: a server less, and no proof that there is none."""
        found = await asyncio.gather(
            self._records.find(host, "A"), self._records.find(host, "AAAA"), return_exceptions=True
        )
        answers = []
        for answer in found:
            if isinstance(answer, NoAnswer):
                search.unsure = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answers.append(search.saw(answer))
        addresses = [address for answer in answers for address in answer.records]
        # RFC 7672 2.2: only who is found by validated answers alone can be known by a validated record.
        if not addresses or not secure or not all(answer.secure for answer in answers):
            return _Place(addresses)
        for base in dict.fromkeys((answers[0].name or host, host)):
            try:
                records = search.saw(await self._records.find(f"_{self._port}._tcp.{base}", "TLSA"))
            except NoAnswer as error:
                # RFC 7672 2.1.2: whoever keeps this answer from us must gain nothing.
                search.unsure = str(error)
                return _Place([])
            if records.secure and records.records:
                usable = dane.usable(records.records)
                return _Place(addresses, Demand("dane", usable) if usable else Demand("encrypted"))
        return _Place(addresses)

    def _is_ours(self, address: str) -> bool:
        return any(
            host == address or (host in ("0.0.0.0", "::", "localhost") and _is_local(address))  # noqa: S104 -- Compared.
            for host, _ in self._listening
        )


class _Place(msgspec.Struct):
    addresses: list[str]
    demand: Demand = _MAY


class _Search:
    """What one search has met."""

    def __init__(self, now: float) -> None:
        self.until = now + 3600.0
        self.unsure = ""
        self.loops = self.refused = self.unnamed = False

    def saw(self, found: Found) -> Found:
        self.until = min(self.until, found.until)
        return found

    def why(self, domain: str) -> Reply:
        """Why there is no server."""
        if self.unsure:
            return no_answer(domain, self.unsure)
        if self.unnamed:
            # It may be the policy that is behind (RFC 8461 5).
            return Reply(451, "4.7.5", f"OG-TLS no mail server of {domain} is one that its MTA-STS policy names")
        if self.loops:
            return Reply(554, "5.4.6", f"OG-LOOP the MX records of {domain} point to ourselves: its mail loops")
        if self.refused:
            return Reply(550, "5.4.4", f"OG-NOROUTE no mail server of {domain} has an address of the internet")
        return Reply(550, "5.1.2", f"OG-NOROUTE the domain {domain} has no mail server: host not found")


def _mx(record: str) -> tuple[int, str] | None:
    """Preference and host of an MX record as a text; None if that can be no host."""
    preference, _, host = record.partition(" ")
    try:
        return int(preference), ascii_name(host)
    except ValueError:
        return None


def _is_local(address: str) -> bool:
    """True if the address is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True
