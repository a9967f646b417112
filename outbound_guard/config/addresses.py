"""Addresses, networks and ports as they stand in the configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def host_port(address: str) -> tuple[str, int]:
    """("127.0.0.1", 2525) from "127.0.0.1:2525", ("::1", 25) from "[::1]:25". Raises ValueError."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+)):(\d{1,5})", address, re.ASCII)
    if not found or int(found[3]) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT or [IPV6]:PORT")
    return found[1] or found[2], int(found[3])


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks or single addresses, parsed. Raises ValueError."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def contains(nets: tuple[Network, ...], address: str) -> bool:
    """True if `address` lies in one of the networks; an IPv4-mapped IPv6 address counts as IPv4."""
    if not nets:
        return False
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return any(ip.version == net.version and ip in net for net in nets)
