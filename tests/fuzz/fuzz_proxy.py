"""What load balancers and filters in front of us say about their clients: PROXY, versions 1 and 2, and XCLIENT."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from outbound_guard.edge import paths, xclient
from outbound_guard.edge.proxied import Client, Malformed, take
from tests.fuzz.target import Choices, Target, holds, one_line, pieces

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind, seed = choices.number(2), choices.number(256)
    data = choices.rest()
    if kind:
        told(data.decode("utf-8", "ignore"))
        return
    expected = reference(data)
    found = played(pieces(data, seed))
    holds(found == expected, "another client, or another end", data, found, expected)


def played(chunks: list[bytes]) -> tuple[Client, int] | None:
    """Whom a header that comes in pieces speaks for, and its octets; None if it is none, or not whole."""
    come = b""
    try:
        for chunk in chunks:
            come += chunk
            if (found := take(come)) is not None:
                return found
    except Malformed:
        pass
    return None


def reference(data: bytes) -> tuple[Client, int] | None:
    """The same read plainly, from the specification's text."""
    if data.startswith(SIGNATURE) and len(data) >= 16:
        command, kind, length = struct.unpack(">BBH", data[12:16])
        body = data[16 : 16 + length]
        sizes = {0: 0, 1: 12, 2: 36, 3: 216}
        if command not in (0x20, 0x21) or kind >> 4 not in sizes or kind & 15 > 2 or len(body) < length:
            return None
        if length > 4096 or length < sizes[kind >> 4] or not fields(data[:16], body, sizes[kind >> 4]):
            return None
        if command == 0x20 or kind not in (0x11, 0x21):
            return Client(), 16 + length
        octets = 4 if kind == 0x11 else 16
        (port,) = struct.unpack(">H", body[2 * octets :][:2])
        return Client(plain(ipaddress.ip_address(body[:octets])), port), 16 + length
    line, end, _ = data.partition(b"\n")
    if (
        not line.startswith(b"PROXY ")
        or not end
        or not line.endswith(b"\r")
        or len(line) + 1 > 107
        or b"\r" in line[:-1]
    ):
        return None
    words = line[:-1].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return Client(), len(line) + 1
    try:
        kind, source, destination, port, other = words[1:]
        wanted = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}[kind]
        found, _ = wanted(source), wanted(destination)
        if "%" in source + destination or not all(w.isascii() and w.isdigit() and len(w) < 6 for w in (port, other)):
            return None
        if max(int(port), int(other)) > 65535:
            return None
    except (ValueError, KeyError):
        return None
    return Client(plain(found), int(port)), len(line) + 1


def fields(head: bytes, body: bytes, place: int) -> bool:
    """Whether what follows the addresses is whole, and its checksum, if there is one, right."""
    while place < len(body):
        if place + 3 > len(body):
            return False
        kind, length = struct.unpack(">BH", body[place : place + 3])
        place += 3
        if place + length > len(body):
            return False
        if kind == 3:
            blank = head + body[:place] + bytes(length) + body[place + length :]
            if length != 4 or struct.unpack(">I", body[place : place + 4])[0] != checksum(blank):
                return False
        place += length
    return True


def checksum(octets: bytes) -> int:
    """CRC32c by long division of polynomials, bit by bit."""
    register = 0xFFFFFFFF
    for bit in (octet >> shift & 1 for octet in octets for shift in range(8)):
        register = (register >> 1) ^ (0x82F63B78 if (register ^ bit) & 1 else 0)
    return register ^ 0xFFFFFFFF


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """IPv4 in IPv6 is IPv4."""
    return str((address.version == 6 and address.ipv4_mapped) or address)


def told(words: str) -> None:
    """What XCLIENT tells: fit for a Received field, a log line and a key, whatever was encoded in it."""
    said = xclient.take(words)
    if said is None:
        return
    if said.address:
        ipaddress.ip_address(said.address)
    holds(said.port is None or 0 <= said.port <= 65535, said)
    holds(not said.helo or not paths.unfit_host_name(said.helo), said)
    for word in (said.helo, said.login):
        holds(word is None or (one_line(word) and len(word) <= 255 and word.isprintable()), said)
    holds(not said.login or not any(letter.isspace() for letter in said.login), said)
    before = xclient.Said("192.0.2.1", 1, "a", "b")
    holds(xclient.and_before(xclient.NOTHING, said) == said, said)
    after = xclient.and_before(before, said)
    holds(None not in (after.address, after.port, after.helo, after.login), after)


def seeds() -> Iterator[bytes]:
    four, six = bytes((192, 0, 2, 1, 198, 51, 100, 1)), bytes(15) + b"\1" + b"\xff" * 16
    ports = b"\x9c\x40\0\x19"
    mapped = bytes(10) + b"\xff\xff" + bytes((192, 0, 2, 9)) + bytes(16)
    for line in (
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\r\nEHLO a\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 40000 25\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\nNOOP\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 40000 25\nEHLO a\r\n",
        SIGNATURE + b"\x21\x11" + struct.pack(">H", 12) + four + ports + b"EHLO",
        SIGNATURE + b"\x21\x21" + struct.pack(">H", 36) + six + ports,
        SIGNATURE + b"\x21\x21" + struct.pack(">H", 36) + mapped + ports,
        SIGNATURE + b"\x20\x11" + struct.pack(">H", 12) + four + ports,
        SIGNATURE + b"\x20\x00\0\0EHLO",
        SIGNATURE + b"\x20\x00" + struct.pack(">H", 5000) + b"\4" + struct.pack(">H", 4997) + bytes(4997),
        SIGNATURE + b"\x21\x11" + struct.pack(">H", 17) + four + ports + b"\4\0\2ab",
        SIGNATURE + b"\x21\x31" + struct.pack(">H", 216) + bytes(216),
    ):
        yield b"\0\0" + line
        yield b"\0\1" + line
    summed = SIGNATURE + b"\x21\x11" + struct.pack(">H", 19) + four + ports + b"\3\0\4"
    yield b"\0\0" + summed + struct.pack(">I", checksum(summed + bytes(4)))
    yield b"\1\0ADDR=192.0.2.7 PORT=1234 HELO=pc.example LOGIN=a+40b.example PROTO=ESMTP NAME=[UNAVAILABLE]"
    yield b"\1\0ADDR=IPV6:::ffff:192.0.2.7 HELO=[TEMPUNAVAIL] DESTADDR=192.0.2.2 DESTPORT=25 REVERSE_NAME=a"


WORDS = (
    *(
        SIGNATURE,
        b"\x21\x11\0\x0c",
        b"\x21\x21\0\x24",
        b"\x20\0\0\0",
        b"\3\0\4",
        b"\0\0",
        b"\xff\xff",
        b"PROXY ",
        b"TCP4 ",
    ),
    *(
        b"TCP6 ",
        b"UNKNOWN",
        b"192.0.2.1",
        b"::1",
        b"::ffff:192.0.2.1",
        b"%eth0",
        b" ",
        b"\r\n",
        b"\n",
        b"\r",
        b"65536",
        b"0",
    ),
    *(
        b"ADDR=",
        b"IPV6:",
        b"PORT=",
        b"HELO=",
        b"LOGIN=",
        b"NAME=",
        b"[UNAVAILABLE]",
        b"+0D+0A",
        b"+C3+A4",
        b"+E2+80+A8",
    ),
    *(b"DESTPORT=", b"PROTO=SMTP", b"+", b"+2B", b"\xc2\xb2"),
)
TARGET = Target(attempt, seeds, WORDS, lead=2, longest=600)
