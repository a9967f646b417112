"""A name server that plays blocklists: honest ones, and all the ways in which a list or resolver can mislead.

    async with list_server() as server:
        server.zones["good.test"] = Zone(listed={"192.0.2.7": ["127.0.0.2"]})
        server.zones["gone.test"] = Zone(wildcard=["127.0.0.2"])
        ... resolvers = [server.address]

Names outside its zones do not exist. It speaks UDP and TCP and counts what it was asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from outbound_guard.dns import reversed_name

_IP_TEST = {reversed_name("127.0.0.2"): ["127.0.0.2"], reversed_name("::ffff:7f00:2"): ["127.0.0.2"]}


@dataclass
class Zone:
    """One list. Without more it is honest and lists its test entries alone."""

    listed: dict[str, list[str]] = field(default_factory=dict)
    """Address or domain -> codes."""
    texts: dict[str, str] = field(default_factory=dict)
    tests: bool = True
    """Whether it has the entries of RFC 5782 5."""
    wildcard: list[str] = field(default_factory=list)
    """The answer to every other name."""
    wildcard_after: int = 0
    """So many questions it is honest before."""
    rcode: str = ""
    """SERVFAIL, REFUSED: its answer to everything."""
    dead_after: int = 0
    """After so many questions it knows nothing any more, its test entries neither."""
    silent: bool = False
    silent_after: int = 0
    limit: int = 0
    """After so many questions it answers 127.255.255.255."""
    truncated: bool = False
    """By UDP it sends a part only."""
    garbage: bool = False
    delay: float = 0.0
    asked: int = 0

    def codes(self, label: str) -> list[str]:
        """The answer to a question of type A, by what stands in front of the zone."""
        if self.limit and self.asked > self.limit:
            return ["127.255.255.255"]
        if 0 < self.dead_after < self.asked:
            return []
        if self.tests and label in ("test", *_IP_TEST):
            return _IP_TEST.get(label, ["127.0.0.2"])
        for subject, codes in self.listed.items():
            if label == _label(subject):
                return codes
        return self.wildcard if self.asked > self.wildcard_after else []

    def text(self, label: str) -> str:
        return next((text for subject, text in self.texts.items() if label == _label(subject)), "")


class ListServer(asyncio.DatagramProtocol):
    """The zones, and other names with records of any type."""

    def __init__(self) -> None:
        self.zones: dict[str, Zone] = {}
        self.records: dict[tuple[str, str], list[str]] = {}
        """(name, type) -> records as texts."""
        self.aliases: dict[str, str] = {}
        """Name -> the name it is an alias of (CNAME), which is in `records`."""
        self.rewrites: list[str] = []
        """The answer to names that do not exist, as some resolvers of access providers give."""
        self.asked: Counter[str] = Counter()
        """Questions by name, all types together."""
        self.tcp = 0
        self._transport: Any = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """HOST:PORT"""
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._by_udp(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _by_udp(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._answer(data, udp=True)
        if answer is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)

    async def by_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One session (RFC 7766)."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                self.tcp += 1
                answer = await self._answer(await reader.readexactly(size), udp=False)
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        writer.close()

    async def _answer(self, data: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name] += 1
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        label, zone = self._zone_of(name)
        if name in self.aliases:
            self._put(response, name, "CNAME", [f"{self.aliases[name]}."])
            name = self.aliases[name]
        if zone is None:
            self._put(response, name, kind, self.records.get((name, kind), []))
            if not response.answer and not any(known == name for known, _ in self.records):
                self._nothing(response, name, kind)
            return response.to_wire()
        zone.asked += 1
        if zone.delay:
            await asyncio.sleep(zone.delay)
        if zone.silent or 0 < zone.silent_after < zone.asked:
            return None
        if zone.garbage:
            return b"?" * 40
        if zone.rcode:
            response.set_rcode(dns.rcode.from_text(zone.rcode))
        elif zone.truncated and udp:
            response.flags |= dns.flags.TC
        elif kind == "A":
            self._put(response, name, kind, zone.codes(label))
        elif kind == "TXT" and (text := zone.text(label)):
            self._put(response, name, kind, [f'"{text}"'])
        if not response.answer and not response.rcode() and not response.flags & dns.flags.TC:
            self._nothing(response, name, kind)
        return response.to_wire()

    def _zone_of(self, name: str) -> tuple[str, Zone | None]:
        for zone, played in self.zones.items():
            if name.endswith(f".{zone}"):
                return name.removesuffix(f".{zone}"), played
        return name, None

    def _nothing(self, response: Any, name: str, kind: str) -> None:
        if self.rewrites and kind == "A":
            self._put(response, name, kind, self.rewrites)
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)

    @staticmethod
    def _put(response: Any, name: str, kind: str, records: list[str]) -> None:
        if records:
            response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *records))


def _label(subject: str) -> str:
    try:
        return reversed_name(str(ipaddress.ip_address(subject)))
    except ValueError:
        return subject


@asynccontextmanager
async def list_server() -> AsyncIterator[ListServer]:
    """It listens, on UDP and TCP, until the block ends."""
    loop = asyncio.get_running_loop()
    while True:
        transport, server = await loop.create_datagram_endpoint(ListServer, local_addr=("127.0.0.1", 0))
        try:
            # The port that is free for UDP may be taken for TCP.
            tcp = await asyncio.start_server(server.by_tcp, "127.0.0.1", transport.get_extra_info("sockname")[1])
            break
        except OSError:
            transport.close()
    try:
        yield server
    finally:
        tcp.close()
        transport.close()


@contextmanager
def list_server_in_thread() -> Iterator[ListServer]:
    """The same in a thread of its own, for tests that are ordinary functions."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lists", daemon=True)
    thread.start()
    opened = list_server()
    server = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
