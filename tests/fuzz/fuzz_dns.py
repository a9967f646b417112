"""What the DNS and web servers of strangers say: answers to the question that is asked by hand, SPF, MTA-STS, DANE."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator

from outbound_guard.blocklist import spf
from outbound_guard.delivery import mta_sts
from outbound_guard.dns import NoAnswer, Questions
from tests.fuzz.target import Choices, Target, holds

NAME = "2.0.0.127.bl.example"
_WIRE = b"".join(bytes([len(label)]) + label for label in NAME.encode().split(b".")) + b"\0\0\1\0\1"
RESULTS = ("none", "neutral", "pass", "fail", "softfail", "temperror", "permerror")


class Server(asyncio.DatagramProtocol):
    """A name server that says what it is told to, with the right number on it."""

    def __init__(self) -> None:
        self.says = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data[:2] + self.says, addr)  # type: ignore[attr-defined]


class World:
    """The loop, the server and who asks it."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.server, self.questions = self.runner.run(self._start())

    async def _start(self) -> tuple[Server, Questions]:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        # What is no answer to the question is passed over, and waited for no longer than this.
        return server, Questions([f"127.0.0.1:{port}"], seconds=0.004, lifetime=0.008)

    async def ask(self, says: bytes) -> None:
        self.server.says = says
        try:
            for text in await self.questions.ask(NAME, "A"):
                holds(isinstance(text, str) and text.isprintable(), text)
        except NoAnswer as error:
            holds(NAME not in str(error), "the name may have a key in it", error)


_world = functools.cache(World)


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    kind = choices.number(4)
    data = choices.rest()
    if kind == 0:
        world = _world()
        # A question section that fits, or the datagram as it is.
        says = b"\x81\x80\0\1" + data[:6].ljust(6, b"\0") + _WIRE + data[6:]
        world.runner.run(world.ask(says if choices.number(2) or len(data) % 8 else data))
    elif kind == 1:
        try:
            policy = mta_sts.parse(data, "1", 0.0)
        except mta_sts.PolicyError:
            return
        holds(policy.mode in ("enforce", "testing", "none") and 0 <= policy.until <= 31_557_600, policy)
        holds(policy.mx or policy.mode == "none", policy)
        holds(not policy.names("") and not policy.names("a.b.other"), policy) if "other" not in str(policy.mx) else None
    else:
        asyncio.run(sender_policy(data.decode("utf-8", "replace"), many=kind == 3))


async def sender_policy(text: str, *, many: bool) -> None:
    """A domain's SPF record that may point anywhere, also to itself: bounded, and one of the seven results."""
    asked = 0

    async def ask(name: str, kind: str) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        lines = text.split("\n")
        if kind == "TXT":
            return tuple(lines[:2]) if many else (lines[asked % len(lines)],)
        if kind in ("A", "AAAA"):
            return tuple(f"192.0.2.{len(line) % 256}" if kind == "A" else "2001:db8::1" for line in lines[1:20])
        # A name as the library writes it has no white space in it.
        return tuple(f"10 {''.join(line.split())}." for line in lines[1:20])

    try:
        result, why = await spf.check_host(ask, "192.0.2.1", "a.example", "pc.a.example")
    except NoAnswer:
        return
    holds(result in RESULTS and isinstance(why, str), result)
    holds(asked <= 120, "asks without end", asked)


def seeds() -> Iterator[bytes]:
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\2"
    yield b"\0\0\1\0\0\0\0" + record
    yield b"\0\0\2\0\0\0\0" + record + b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c"
    yield b"\0\0\0\0\0\0\0"
    yield b"\1version: STSv1\r\nmode: enforce\r\nmx: mx.a.example\r\nmx: *.b.example\r\nmax_age: 604800\r\n"
    yield b"\2v=spf1 ip4:192.0.2.0/24 a mx:b.example/24 include:c.example exists:%{ir}.d.example redirect=e.example"
    yield b"\2v=spf1 redirect=a.example"
    yield b"\3v=spf1 include:a.example include:b.example ~all\n192.0.2.1\nmx.a.example"


WORDS = (
    *(
        b"v=spf1 ",
        b"include:",
        b"redirect=",
        b"a:",
        b"mx",
        b"ptr",
        b"exists:",
        b"ip4:",
        b"ip6:",
        b"-all",
        b"%{i}",
        b"%{s1r-}",
    ),
    *(
        b"%{",
        b"}",
        b"/0",
        b"//64",
        b"\n",
        b" ",
        b"a.example",
        b"version: STSv1\n",
        b"mode: none\n",
        b"mx: ",
        b"max_age: 1\n",
    ),
    *(b"\xc0\x0c", b"\0\1", b"\0\5", b"\0\x10", b"\xff\xff", b"\x7f\0\0\2", b"\x3f", b"\0", b"999999999999", b"\xff"),
)
TARGET = Target(attempt, seeds, WORDS, lead=1, longest=1200)
