"""The PROXY protocol, versions 1 and 2: whom a load balancer in front of us speaks for.

The header is text (`PROXY TCP4 192.0.2.1 198.51.100.1 40000 25`, 107 octets at most) or binary (a signature, sixteen
octets in all, then addresses and more). It comes once, before anything else, TLS included. Pure, without I/O.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LONGEST_LINE = 107
"""Octets, CRLF included."""
_MOST = 4096
"""Octets of addresses and further fields; those in use take a few hundred."""
_HEAD = struct.Struct(">12sBBH")
_CRC32C = 0x03
_FAMILIES = {1: (4, 4), 2: (16, 6)}
"""Octets of an address and its IP version, by the family of version 2."""


class Malformed(Exception):  # noqa: N818 - it says what the other side did.
    """What came is no PROXY header."""


class Client(NamedTuple):
    """Whom the connection is for: IP address and port; "" if the header does not say."""

    address: str = ""
    port: int = 0


UNKNOWN = Client()


def take(octets: bytes) -> tuple[Client, int] | None:
    """The header that `octets` begin with, and how many belong to it; None while some are missing. Raises Malformed."""
    if octets[:12] == _SIGNATURE[: len(octets)]:
        if len(octets) < _HEAD.size:
            return None
        whole = _HEAD.size + _HEAD.unpack_from(octets)[3]
        if whole > _HEAD.size + _MOST:
            raise Malformed("too long")
        return (binary(octets[:whole]), whole) if len(octets) >= whole else None
    if octets[:6] != b"PROXY "[: len(octets)]:
        raise Malformed("neither version 1 nor version 2")
    end = octets.find(b"\n", 0, _LONGEST_LINE) + 1
    if end:
        return text(octets[:end]), end
    if len(octets) >= _LONGEST_LINE:
        raise Malformed("no line end within 107 octets")
    return None


def text(line: bytes) -> Client:
    """Version 1, a whole line with its CRLF. Raises Malformed."""
    words = line[:-2].decode("latin-1").split(" ")
    if len(line) > _LONGEST_LINE or line[-2:] != b"\r\n" or words[0] != "PROXY" or "\r" in line[:-2].decode("latin-1"):
        raise Malformed("no line of version 1")
    if words[1:2] == ["UNKNOWN"]:
        # What follows is to be ignored.
        return UNKNOWN
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise Malformed("not PROXY, protocol, two addresses, two ports")
    version = 4 if words[1] == "TCP4" else 6
    source, _ = (_address(word, version) for word in words[2:4])
    port, _ = (_port(word) for word in words[4:6])
    return Client(source, port)


def binary(header: bytes) -> Client:
    """Version 2, whole. Raises Malformed."""
    if len(header) < _HEAD.size or header[:12] != _SIGNATURE:
        raise Malformed("no header of version 2")
    _, command, kind, length = _HEAD.unpack_from(header)
    if len(header) != _HEAD.size + length:
        raise Malformed("cut off")
    if command >> 4 != 2 or command & 15 > 1:
        raise Malformed("unknown version or command")
    family, transport = kind >> 4, kind & 15
    if family > 3 or transport > 2:
        raise Malformed("unknown family or transport")
    octets, version = _FAMILIES.get(family, (0, 0))
    addresses = {0: 0, 3: 216}.get(family, 2 * octets + 4)
    if length < addresses:
        raise Malformed("too short for its addresses")
    _check_fields(header, _HEAD.size + addresses)
    if command & 15 == 0 or not version or transport != 1:
        # LOCAL: the load balancer itself, which looks whether we are well. Or no kind of address that SMTP has.
        return UNKNOWN
    place = _HEAD.size
    source = ipaddress.ip_address(header[place : place + octets])
    (port,) = struct.unpack_from(">H", header, place + 2 * octets)
    return Client(_plain(source), port)


def _check_fields(header: bytes, place: int) -> None:
    """Go through the further fields (type, length, value): they must fill the header, and a checksum must be right."""
    while place < len(header):
        if place + 3 > len(header):
            raise Malformed("a field is cut off")
        kind, length = struct.unpack_from(">BH", header, place)
        value = place + 3
        if value + length > len(header):
            raise Malformed("a field is cut off")
        if kind == _CRC32C:
            given = header[value : value + length]
            blank = header[:value] + bytes(length) + header[value + length :]
            if length != 4 or int.from_bytes(given, "big") != crc32c(blank):
                raise Malformed("wrong checksum")
        place = value + length


def crc32c(octets: bytes) -> int:
    """The checksum of RFC 3720 B.4 (Castagnoli), bit by bit: headers are short, and few carry it."""
    checksum = 0xFFFFFFFF
    for octet in octets:
        checksum ^= octet
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


def _address(word: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        raise Malformed("no address") from None
    if address.version != version or "%" in word:
        raise Malformed("no address of its kind")
    return _plain(address)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As text; IPv4 in IPv6 counts as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 5 and int(word) <= 65535):
        raise Malformed("no port")
    return int(word)
