"""Which address a URL may be sent to. A slip, or a name that changes its mind, must not lead us to ourselves.

The host is looked up for each try; what is not of the internet (loopback, private, link-local with the metadata
services of clouds, multicast, reserved, and such addresses inside of IPv6 ones) is left out; and the connection goes to
the address that was looked at, not to the name again. Redirects are not followed at all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from outbound_guard.delivery.routing import allowed

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name, IPv4 first; raises OSError."""

_MOST = 3
"""Addresses of one host that are tried."""
# 127.1, 0x7f000001, 2130706433, 0177.0.0.1: what C libraries read as addresses, and we as nothing.
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # RFC 4291 2.5.5.1: an IPv4 address is inside of it.
        "::ffff:0:0:0/96",  # RFC 2765 2.1: likewise.
        "64:ff9b:1::/48",  # RFC 8215: likewise, translated by a network of one's own.
        "168.63.129.16/32",  # The metadata service of a cloud, though it is an address of the internet.
    )
)
_ISATAP = 0x5EFE
"""RFC 5214 6.1: 0000:5efe or 0200:5efe before an IPv4 address in the last 32 bits."""


class Refused(Exception):  # noqa: N818 -- It says that the URL leads where we do not go.
    """The URL leads to no address that is spoken to; the text says why."""


def public(address: str) -> bool:
    """True if an address is one of the internet, with every address that is inside of it."""
    if not allowed(address):
        return False
    ip = ipaddress.ip_address(address)
    if any(ip in network for network in _NEVER):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id or ip.is_site_local or (int(ip) >> 32) & 0xFDFFFFFF == _ISATAP:
            return False
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
        return inner is None or public(str(inner))
    return True


async def addresses_of(url: str, resolve: Resolve, *, private: bool) -> list[str]:
    """Where a URL may be sent to, at most three; `private`: wherever it leads. Raises Refused, OSError."""
    host = urlsplit(url).hostname or ""
    try:
        found: Sequence[str] = [str(ipaddress.ip_address(host))]
    except ValueError:
        if not host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise Refused("its host is neither a name nor an address") from None
        found = await resolve(host)
    good = [address for address in found if private or public(address)]
    if not good:
        raise Refused("it leads to no address of the internet" if found else "its host has no address")
    return good[:_MOST]
