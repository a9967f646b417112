"""Delivery to the smarthosts of one pool."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import ConfigError, Pool, host_port
from outbound_guard.delivery.attempt import Attempt
from outbound_guard.delivery.carrying import carry
from outbound_guard.delivery.connecting import connect, greeting_name, terms_of
from outbound_guard.delivery.connection import Connection
from outbound_guard.delivery.hops import EVENTS, SWEEP_SECONDS, WAIT_SECONDS, Count, Hops, Refused, put_off
from outbound_guard.delivery.pool import LONGEST_OF_OURS, Health, Host
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.sources import Sources, sources_of
from outbound_guard.delivery.turn import Outlook
from outbound_guard.delivery.wire import made_ready
from outbound_guard.mail import Envelope
from outbound_guard.reply import not_as_it_wants

_FAULT_OF_OURS = frozenset({502, 503, 530, 534, 535, 538})
"""With these a smarthost refuses how we speak to it, above all our login (RFC 4954 6), and not the message. 500 is
said of long lines, 501, 504 and 555 of addresses, and 554 of anything."""


class Smarthosts:
    """The smarthosts of one [[delivery.pool]], used in turn; those that fail are left alone for a while."""

    def __init__(
        self,
        pool: Pool,
        *,
        hostname: str,
        clock: Clock,
        count: Count,
        refused: Refused = lambda *_: None,
        wait_seconds: float = WAIT_SECONDS,
        sources: Sources | None = None,
    ) -> None:
        """Paths in `pool` must be absolute. Raises ConfigError (password, certificates, addresses).

        `count("next_hop_events_total", event)` is called for: opened; source (this machine has not the address that was
        to be bound); connect, timeout, greeting, tls, auth (no session could be set up); broken, timeout, malformed,
        going_away (a session ended before its answer); stale (a reused connection was found closed: tried again on a
        new one); unknown (no answer to the end of data);
        our_address (our own address was refused); setup (our login or a command was); busy (no connection became free).
        `wait_seconds`: how long a sender waits for one. `refused(next hop, source address, reply)` is called when our
        address was refused; the address is empty if the system chose it. `sources` are the addresses of the pool, if
        there is something special about them.
        """
        if not pool.smarthosts:
            raise ConfigError(f"delivery.pool {pool.name!r}: no smarthost is named")
        terms = terms_of(pool, hostname)
        if sources is None:
            sources = sources_of(pool)
        special = {
            source: msgspec.structs.replace(terms, hostname=greeting_name(helo))
            for source, helo in sources.helo.items()
        }

        async def opened(host: Host, source: str | None, lost: Callable[[Connection], None]) -> Connection:
            return await connect(special.get(source, terms), host.host, host.port, source, lost)

        self._count = count
        self._hops = Hops(
            [host_of(name, pool, sources, clock) for name in pool.smarthosts],
            opened,
            count=count,
            refused=refused,
            wait_seconds=wait_seconds,
            sweep_seconds=min(SWEEP_SECONDS, terms.reply_seconds / 4),
        )

    def healthy(self) -> bool:
        """True if at least one host is thought to work."""
        return self._hops.healthy()

    def health(self) -> list[Health]:
        """Every host, in the order of the configuration."""
        return self._hops.health()

    def outlook(self, domain: str = "") -> Outlook:
        """What these can take now, whatever the domain is."""
        return self._hops.outlook()

    def rest(self, addresses: frozenset[str]) -> None:
        """Send from the other addresses of the pool; where there is no other, these are used all the same."""
        self._hops.rest(addresses)

    async def send(self, envelope: Envelope, content: Sequence[bytes]) -> Result:
        """Deliver a message; one reply for each recipient. Never raises for what the network does.

        `content` is the message in pieces: CRLF line ends, not dot-stuffed; sent on byte for byte. Addresses that
        cannot stand in a command are refused here with 501, those that would need SMTPUTF8 where the next hop does
        not know it with 553 (RFC 6531 3.5). A refusal of our own address is answered for with 451 OG-LISTED, one of
        our login or of what we say with 451 OG-SETUP.
        """
        mail = await made_ready(envelope, content)
        if mail.hopeless:
            return Result(tuple(reply for reply in mail.replies if reply), "")
        return self._ours(put_off(await carry(self._hops, mail, Attempt(mail))))

    def _ours(self, result: Result) -> Result:
        """What is wrong with the way we speak to a smarthost is the operator's to mend; no client loses mail for it."""
        if not any(reply.code in _FAULT_OF_OURS for reply in result.replies):
            return result
        self._count(EVENTS, "setup")
        replies = (not_as_it_wants(reply) if reply.code in _FAULT_OF_OURS else reply for reply in result.replies)
        return msgspec.structs.replace(result, replies=tuple(replies))

    async def close(self) -> None:
        """Take leave of all hosts; transactions under way break. Takes at most 5 s."""
        await self._hops.close()


def host_of(name: str, pool: Pool, turns: Sources, clock: Clock) -> Host:
    """The host `HOST:PORT` of a pool. Raises ConfigError (its name, or source addresses that cannot reach it)."""
    try:
        host, port = host_port(name)
    except ValueError as error:
        raise ConfigError(f"delivery.pool {pool.name!r}: {error}") from error
    sources = turns.addresses
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        pass  # A name may have addresses of both kinds; the system's resolver says which fits.
    else:
        fitting = turns.fitting(version)
        if sources and not fitting:
            raise ConfigError(f"delivery.pool {pool.name!r}: none of source_addresses can be used with {name}")
        sources = fitting
    return Host(name, host, port, sources, pool.connections, clock, turns=turns, longest=LONGEST_OF_OURS)
