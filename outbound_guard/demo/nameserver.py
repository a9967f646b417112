"""The demo's name server, on a UDP port of loopback: blocklists of its own, and the names of the provider.

It knows A, TXT and PTR records, which is all that is asked of it, and no more of the DNS than that (RFC 1035 4).
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from typing import Any

_TYPES = {1: "A", 12: "PTR", 16: "TXT"}
_NUMBERS = {name: number for number, name in _TYPES.items()}
_TTL = 5
_LONGEST = 253
"""Characters of a name (RFC 1035 2.3.4)."""


class NameServer(asyncio.DatagramProtocol):
    """`records`: (name, type) -> texts. What has no record does not exist."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.address = ""
        """HOST:PORT, once it listens."""
        self._transport: Any = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    async def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """It listens."""
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question; what is none gets no answer."""
        if answer := self.answered(data):
            self._transport.sendto(answer, addr)

    def answered(self, question: bytes) -> bytes:
        """The answer to a question as it came; empty for what is no question."""
        try:
            id_, _, questions = struct.unpack_from("!HHH", question)
            name, end = _name(question, 12)
            kind, class_ = struct.unpack_from("!HH", question, end)
        except (struct.error, IndexError, UnicodeDecodeError):
            return b""
        if questions != 1 or class_ != 1:
            return b""
        found = self.records.get((name, _TYPES.get(kind, "")), [])
        exists = bool(found) or any((name, other) in self.records for other in _NUMBERS)
        # Response, authoritative, recursion wanted and available; code 3 says that there is no such name.
        head = struct.pack("!HHHHHH", id_, 0x8580 | (0 if exists else 3), 1, len(found), 0, 0)
        answers = b"".join(_record(_TYPES[kind], text) for text in found)
        return head + question[12 : end + 4] + answers

    def list(self, address: str, zone: str, code: str, why: str) -> None:
        """Put an address on a list (RFC 5782 2.1)."""
        name = f"{reversed_(address)}.{zone}"
        self.records[name, "A"], self.records[name, "TXT"] = [code], [why]

    def delist(self, address: str, zone: str) -> None:
        """Take an address off a list."""
        for kind in ("A", "TXT"):
            self.records.pop((f"{reversed_(address)}.{zone}", kind), None)

    def own(self, address: str, name: str) -> None:
        """An address and its name point to each other."""
        self.records[name, "A"] = [address]
        self.records[f"{reversed_(address)}.in-addr.arpa", "PTR"] = [name]


def reversed_(address: str) -> str:
    """An IPv4 address as lists have it: the last octet first."""
    return ".".join(reversed(address.split(".")))


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name of a question, in lower case, and where it ends."""
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii").lower())
        at += 1 + length
        if at > _LONGEST + 12:
            raise IndexError(at)
    return ".".join(labels), at + 1


def _record(kind: str, text: str) -> bytes:
    """A record about the name of the question."""
    if kind == "A":
        value = ipaddress.IPv4Address(text).packed
    elif kind == "TXT":
        octets = text.encode()
        parts = [octets[start : start + 255] for start in range(0, len(octets), 255)]
        value = b"".join(bytes([len(part)]) + part for part in parts)
    else:
        value = b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"
    # The name is given by a pointer to that of the question (RFC 1035 4.1.4).
    return struct.pack("!HHHIH", 0xC00C, _NUMBERS[kind], 1, _TTL, len(value)) + value
