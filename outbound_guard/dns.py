"""The DNS: the IPv4 addresses of a name, with a cache. The only user of dnspython."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from outbound_guard.clock import Clock
from outbound_guard.config import host_port

_SERVER_SECONDS, _LIFETIME = 1.5, 4.0
"""Seconds for one try, and for all of them. An answer that is late for one message serves the next one."""
_SHORTEST, _LONGEST, _LONGEST_WITHOUT = 60, 3600, 300
"""Seconds an answer is kept, whatever its TTL says; the last one: that a name does not exist, which changes sooner."""


class NoAnswer(Exception):  # noqa: N818 -- It says that the DNS has no answer for us; no fault of ours.
    """No server has answered in a way that can be used; the text says why."""


class Lookup:
    """Asks for addresses. A name is asked for once at a time, and its answer is kept for as long as its TTL says."""

    def __init__(self, resolvers: Sequence[str], clock: Clock, *, cached: int = 20_000) -> None:
        """`resolvers`: ADDRESS:PORT; empty: the system's. `cached`: names whose answers are kept."""
        self._resolvers, self._clock, self._cached = resolvers, clock, cached
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._asking: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """The IPv4 addresses of `name`; none if it does not exist. Raises NoAnswer.

        The caller may stop waiting; the question goes on, and its answer is kept.
        """
        known = self._known.get(name)
        if known and known[0] > self._clock.now():
            return known[1]
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.get_running_loop().create_task(self._ask(name))
            asking.add_done_callback(lambda task: self._answered(name, task))
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in (asking := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _answered(self, name: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._asking[name]
        if not task.cancelled():
            task.exception()  # Those who waited for it may have gone; it is no news to the event loop.

    async def _ask(self, name: str) -> tuple[str, ...]:
        try:
            if self._resolver is None:
                self._resolver = _resolver(self._resolvers)
            answer = await self._resolver.resolve(name, "A", search=False, raise_on_no_answer=False)
            found = tuple([record.address for record in answer.rrset]) if answer.rrset else ()
            ttl: float = answer.chaining_result.minimum_ttl
        except dns.resolver.NXDOMAIN as none:
            found = ()
            responses: dict[Any, Any] = none.responses()  # type: ignore[no-untyped-call]  # Not annotated there.
            ttl = min([said.resolve_chaining().minimum_ttl for said in responses.values()], default=0)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:200]) from error
        kept = min(max(ttl, _SHORTEST), _LONGEST if found else _LONGEST_WITHOUT)
        self._known.pop(name, None)
        self._known[name] = (self._clock.now() + kept, found)
        if len(self._known) > self._cached:
            del self._known[next(iter(self._known))]  # The one that was asked for the longest time ago.
        return found


def _resolver(resolvers: Sequence[str]) -> dns.asyncresolver.Resolver:
    """Raises dns.exception.DNSException if the system has none."""
    resolver = dns.asyncresolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*host_port(text)) for text in resolvers]
    resolver.timeout, resolver.lifetime = _SERVER_SECONDS, _LIFETIME
    return resolver
