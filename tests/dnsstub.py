"""A name server of our own: it answers from a table, remembers what it was asked, and can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class DnsStub(asyncio.DatagramProtocol):
    """`names`: name -> IPv4 addresses; `records`: (name, type) -> records. Any other name does not exist."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.records: dict[tuple[str, str], list[str]] = {}
        self.broken: set[tuple[str, str]] = set()
        """What it answers with SERVFAIL: (name, type)."""
        self.secure = False
        """It sets the AD bit, to who asks for it, except for what is in `insecure`."""
        self.insecure: set[str] = set()
        self.asked: list[str] = []
        self.ttl = 300
        self.silent = False
        """It hears and says nothing."""
        self.failing = False
        """It answers SERVFAIL."""
        self.garbage = False
        """It answers what is no DNS message."""
        self._transport: Any = None

    @property
    def address(self) -> str:
        """HOST:PORT"""
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport  # One of uvloop's is no asyncio.DatagramTransport.

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append(name)
        if self.silent:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        found = self.names.get(name)
        if self.secure and query.flags & dns.flags.AD and name not in self.insecure:
            response.flags |= dns.flags.AD
        if (alias := self.records.get((name, "CNAME"))) and kind != "CNAME":
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
            found = self.names.get(name)
        others = [records for (known, _), records in self.records.items() if known == name]
        if self.failing or (name, kind) in self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in self.records:
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *self.records[name, kind]))
        elif found is None and not others:
            response.set_rcode(dns.rcode.NXDOMAIN)
            zone = name.partition(".")[2] or name
            soa = f"ns.{zone}. mail.{zone}. 1 3600 600 86400 {self.ttl}"
            response.authority.append(dns.rrset.from_text(f"{zone}.", self.ttl, "IN", "SOA", soa))
        elif found and kind == "A":
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "A", *found))
        self._transport.sendto(b"?" * 40 if self.garbage else response.to_wire(), addr)


@asynccontextmanager
async def dns_stub() -> AsyncIterator[DnsStub]:
    """A name server that listens until the block ends."""
    loop = asyncio.get_running_loop()
    transport, stub = await loop.create_datagram_endpoint(DnsStub, local_addr=("127.0.0.1", 0))
    try:
        yield stub
    finally:
        transport.close()
