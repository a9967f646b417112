"""`mode = "direct"`: mail goes to the servers that the DNS names for each recipient's domain.

A message is one transaction for each destination: the recipients whose domains share their servers go together. What
one destination does (slow, away, refusing) is no concern of the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Pool
from outbound_guard.delivery.destination import Destination, Dialling
from outbound_guard.delivery.hops import SLOW, Count, Refused
from outbound_guard.delivery.pace import Pace
from outbound_guard.delivery.pool import Health
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.routing import Route, Routes
from outbound_guard.delivery.sources import Sources
from outbound_guard.delivery.turn import FINE, ONE, SEVERAL, Outlook
from outbound_guard.delivery.wire import BAD_RECIPIENT, Mail, made_ready
from outbound_guard.mail import Envelope, domain_of
from outbound_guard.reply import OUR_FAULT, Reply

AT_ONCE = 20
"""Destinations of one message that are spoken to at a time."""
RECIPIENTS = 100
"""Of one transaction: so many every server must take (RFC 5321 4.5.3.1.8)."""
WHOLE_ATTEMPT = 900.0
"""Seconds in which one try for one message must begin its last transaction."""
_UNUSED = 600.0
"""Seconds after which a destination that nobody uses is forgotten."""
_SWEEP = 60.0

_log = logging.getLogger(__name__)


class Direct:
    """Direct delivery from the addresses of one pool."""

    def __init__(
        self,
        pool: Pool,
        routes: Routes,
        *,
        hostname: str,
        port: int,
        connections: int,
        clock: Clock,
        count: Count,
        refused: Refused = lambda *_: None,
        patience: float = math.inf,
        sources: Sources | None = None,
    ) -> None:
        """`connections`: the most to one server, and to one destination. `patience`: seconds in which a message must be
        on its way, because somebody waits for the answer. `count`, `refused` and `sources` see Smarthosts. Raises
        ConfigError."""
        self._routes, self._clock, self._count = routes, clock, count
        self._patience = min(patience, WHOLE_ATTEMPT)
        self._dialling = Dialling(
            pool,
            hostname=hostname,
            port=port,
            connections=connections,
            clock=clock,
            count=count,
            refused=refused,
            sources=sources,
        )
        self._destinations: dict[object, Destination] = {}
        self._paces: dict[str, Pace] = {}
        self._rest: frozenset[str] = frozenset()
        self._swept = 0.0

    def healthy(self) -> bool:
        """True: that some of the world's servers are away is no fault of ours."""
        return True

    def health(self) -> list[Health]:
        """Every server that is spoken to."""
        return [health for destination in self._destinations.values() for health in destination.hops.health()]

    def outlook(self, domain: str) -> Outlook:
        """What the servers of a domain can take now, as far as is known. Who asks the DNS for it does so alone."""
        route = self._routes.known(domain)
        if route is None:
            return ONE if domain != SEVERAL else FINE
        if isinstance(route, Reply):
            return Outlook(self._routes.known_for(domain)) if route.temporary else FINE
        pace, destination = self._paces.get(route.site), self._destinations.get(route.key)
        pacing = pace.outlook() if pace else FINE
        hops = destination.hops.outlook() if destination else FINE
        most = [one.most for one in (pacing, hops) if one.most]
        return Outlook(max(pacing.wait, hops.wait), min(most)) if most else pacing if pacing.wait else hops

    def rest(self, addresses: frozenset[str]) -> None:
        """Send from the other addresses of the pool; where there is no other, these are used all the same."""
        self._rest = addresses
        for destination in self._destinations.values():
            destination.rest(addresses)

    async def send(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        """Deliver a message; one reply for each recipient. Never raises for what the network does.

        See Smarthosts.send. What is refused for now is for our own queue to try again (`Result.keep`).
        """
        until = asyncio.get_running_loop().time() + self._patience
        replies: list[Reply | None] = [None] * len(envelope.recipients)
        places: dict[str, list[int]] = {}
        for place, recipient in enumerate(envelope.recipients):
            places.setdefault(domain_of(recipient), []).append(place)
        groups: dict[int, tuple[Destination, Pace, list[int]]] = {}
        for domain, route in (await self._found(list(places), until)).items():
            if isinstance(route, Reply):
                for place in places[domain]:
                    replies[place] = route
                continue
            destination, pace = self._destination(route), self._pace(route)
            groups.setdefault(id(destination), (destination, pace, []))[2].extend(places[domain])
        chunks = [
            (destination, pace, all_[start : start + RECIPIENTS])
            for destination, pace, all_ in groups.values()
            for start in range(0, len(all_), RECIPIENTS)
        ]
        if len(chunks) == 1:
            results = [await self._part(*chunks[0], envelope, content, until)]
            if len(chunks[0][2]) == len(replies):
                return msgspec.structs.replace(results[0], keep=True)
        else:
            room = asyncio.Semaphore(AT_ONCE)

            async def one(destination: Destination, pace: Pace, chosen: list[int]) -> Result:
                async with room:
                    return await self._part(destination, pace, chosen, envelope, content, until)

            results = await asyncio.gather(*(one(*chunk) for chunk in chunks))
        return _merged(replies, [(chosen, result) for (_, _, chosen), result in zip(chunks, results, strict=True)])

    async def close(self) -> None:
        """Take leave of all servers; transactions under way break. Takes at most 5 s."""
        await asyncio.gather(*(destination.hops.close() for destination in self._destinations.values()))

    async def _found(self, domains: list[str], until: float) -> dict[str, Route | Reply]:
        """The route of each domain."""
        found: dict[str, Route | Reply] = {}
        unknown = []
        for domain in domains:
            known = self._routes.known(domain) if domain else BAD_RECIPIENT
            if known is None:
                unknown.append(domain)
            else:
                found[domain] = known
        if unknown:
            room = asyncio.Semaphore(AT_ONCE)

            async def ask(domain: str) -> Route | Reply:
                try:
                    async with asyncio.timeout_at(until), room:
                        return await self._routes.of(domain)
                except TimeoutError:
                    return SLOW

            found.update(zip(unknown, await asyncio.gather(*map(ask, unknown)), strict=True))
        for domain, route in found.items():
            if isinstance(route, Route) and not any(self._dialling.reaches(one.address) for one in route.servers):
                found[domain] = _NO_FAMILY
        return found

    async def _part(
        self,
        destination: Destination,
        pace: Pace,
        chosen: list[int],
        envelope: Envelope,
        content: Sequence[bytes],
        until: float,
    ) -> Result:
        """Deliver to those recipients of a message (by their places) that one destination has."""
        if len(chosen) < len(envelope.recipients):
            envelope = msgspec.structs.replace(envelope, recipients=tuple(envelope.recipients[at] for at in chosen))
        try:
            return await self._send(destination, pace, await made_ready(envelope, content), until)
        except Exception:
            # Those who were accepted elsewhere must not get the message again because of this.
            _log.exception("delivery to one of the destinations has failed")
            self._count("next_hop_events_total", "fault")
            return Result((OUR_FAULT,) * len(chosen), "", reached=False)

    async def _send(self, destination: Destination, pace: Pace, mail: Mail, until: float) -> Result:
        if mail.hopeless:
            return Result(tuple(reply for reply in mail.replies if reply), "")
        if wait := pace.enter():
            self._count("next_hop_events_total", "paced")
            # It is the queue that comes again then.
            return Result((_paced(pace, wait),) * len(mail.replies), "", reached=False, wait=wait)
        heard: list[Reply] = []
        result = None
        try:
            result, heard = await destination.send(mail, until)
        finally:
            pace.leave([*heard, *(result.replies if result else ())])
        return result

    def _destination(self, route: Route) -> Destination:
        now = self._clock.now()
        if not 0 <= now - self._swept < _SWEEP:
            self._sweep(now)
        destination = self._destinations.get(route.key)
        if destination is None:
            destination = self._destinations[route.key] = Destination(route, self._dialling, self._rest)
        destination.use(route)
        destination.last_used = now
        return destination

    def _pace(self, route: Route) -> Pace:
        pace = self._paces.get(route.site)
        if pace is None:
            pace = self._paces[route.site] = Pace(route.site, self._clock)
        return pace

    def _sweep(self, now: float) -> None:
        """Forget what is not used, so that a mailing to the whole world does not stay for ever."""
        self._swept = now
        for key, destination in list(self._destinations.items()):
            if not 0 <= now - destination.last_used < _UNUSED and not destination.hops.alive():
                del self._destinations[key]
                destination.hops.retire()
        self._paces = {site: pace for site, pace in self._paces.items() if not pace.free}


_NO_FAMILY = Reply(
    451, "4.4.1", "OG-NEXTHOP the mail servers have no address of a kind (IPv4, IPv6) that we have an address for"
)


def _paced(pace: Pace, wait: float) -> Reply:
    return Reply(451, "4.7.0", f"OG-PACE {pace.site} has asked us to be slower; not before {wait:.0f} s")


def _merged(known: list[Reply | None], parts: list[tuple[list[int], Result]]) -> Result:
    """One result of those for some places each; `known` are the replies that nobody had to be asked for."""
    replies, peers, sources = list(known), [""] * len(known), [""] * len(known)
    listed: list[int] = []
    relayed: list[int] = []
    # What the DNS has settled for good is an answer of the world.
    reached = any(reply is not None and reply.permanent for reply in known)
    waits = []
    for places, result in parts:
        reached = reached or result.reached
        for index, place in enumerate(places):
            replies[place] = result.replies[index]
            peers[place], sources[place] = result.peer_of(index), result.source_of(index)
        listed += [places[index] for index in result.listed]
        relayed += [places[index] for index in result.relayed]
        waits.append(result.wait or (0.0 if any(reply.temporary for reply in result.replies) else math.inf))
    if any(reply is not None and reply.temporary for reply in known):
        waits.append(0.0)
    wait = min(waits, default=0.0)
    return Result(
        tuple(reply or SLOW for reply in replies),
        next((peer for peer in reversed(peers) if peer), ""),
        reached,
        tuple(peers),
        tuple(sorted(listed)),
        "",
        tuple(sources),
        wait=wait if wait < math.inf else 0.0,
        keep=True,
        relayed=tuple(relayed),
    )
