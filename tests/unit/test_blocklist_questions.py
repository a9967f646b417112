"""Questions of any type to the DNS: what is an answer, what is none, and what nobody may make us believe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dns.message
import pytest

from outbound_guard.dns import NoAnswer, Questions, reversed_name
from tests.listserver import ListServer, Zone, list_server

EVENT_LOOPS = ("asyncio", "uvloop")


@pytest.fixture
async def server() -> AsyncIterator[ListServer]:
    async with list_server() as server:
        yield server


def asking(*addresses: str, seconds: float = 0.3) -> Questions:
    return Questions(addresses, seconds=seconds, lifetime=2 * seconds)


async def test_records_of_all_types(server: ListServer) -> None:
    server.records = {
        ("our.test", "A"): ["192.0.2.9", "192.0.2.10"],
        ("our.test", "AAAA"): ["2001:db8::1"],
        ("our.test", "MX"): ["10 mx.our.test."],
        ("our.test", "TXT"): ['"in " "two parts"', '"another"'],
        ("7.2.0.192.in-addr.arpa", "PTR"): ["our.test."],
        ("empty.test", "TXT"): ['"x"'],
    }
    questions = asking(server.address, seconds=5.0)
    assert await questions.ask("our.test", "A") == ("192.0.2.10", "192.0.2.9")
    assert await questions.ask("OUR.test", "A") == ("192.0.2.10", "192.0.2.9")
    assert await questions.ask("our.test", "AAAA") == ("2001:db8::1",)
    assert await questions.ask("our.test", "MX") == ("10 mx.our.test.",)
    assert await questions.ask("our.test", "TXT") == ("another", "in two parts")
    assert await questions.ask("7.2.0.192.in-addr.arpa", "PTR") == ("our.test.",)
    for name, kind in (("none.test", "A"), ("none.test", "TXT"), ("empty.test", "A"), ("empty.test", "MX")):
        assert await questions.ask(name, kind) == ()
    assert server.asked["none.test"] == 2


async def test_an_answer_by_an_alias(server: ListServer) -> None:
    server.records = {("alias.test", "A"): ["192.0.2.9"]}
    server.aliases = {"www.test": "alias.test"}
    assert await asking(server.address, seconds=5.0).ask("www.test", "A") == ("192.0.2.9",)


@pytest.mark.parametrize(
    ("played", "why"),
    [
        (Zone(rcode="SERVFAIL"), "SERVFAIL"),
        (Zone(rcode="REFUSED"), "answered REFUSED"),
        (Zone(silent=True), "no answer within 0.6 s"),
        (Zone(garbage=True), "no answer within 0.6 s"),
    ],
)
@pytest.mark.parametrize("kind", ["A", "TXT"])
async def test_no_answer_and_the_name_is_not_told(server: ListServer, played: Zone, why: str, kind: str) -> None:
    server.zones["s3cret.test"] = played
    with pytest.raises(NoAnswer) as caught:
        await asking(server.address).ask("a.s3cret.test", kind)
    assert why in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a..test", "x" * 64 + ".test", ".".join(["abcdefgh"] * 40), "ü.test"])
async def test_names_that_cannot_be_asked_for(server: ListServer, name: str) -> None:
    with pytest.raises(NoAnswer):
        await asking(server.address).ask(name, "A")
    assert not server.asked


async def test_another_server_answers_if_the_first_does_not(server: ListServer) -> None:
    server.zones["list.test"] = Zone(listed={"192.0.2.7": ["127.0.0.2"]})
    async with list_server() as silent:
        silent.zones["list.test"] = Zone(silent=True)
        questions = asking(silent.address, server.address)
        assert await questions.ask("7.2.0.192.list.test", "A") == ("127.0.0.2",)
    # Nobody listens there any more.
    assert await questions.ask("7.2.0.192.list.test", "A") == ("127.0.0.2",)


class Forger(asyncio.DatagramProtocol):
    """Sends answers to other questions before the right one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        forged = dns.message.make_response(query)
        forged.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "127.0.0.2"))
        wire = forged.to_wire()
        other_id = bytes([wire[0] ^ 1]) + wire[1:]
        no_answer = wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:]
        other_name = wire.replace(b"\x04list", b"\x04lost")
        short = wire[:11]
        right = dns.message.make_response(query)
        right.set_rcode(3)
        for datagram in (other_id, no_answer, other_name, short, b"", right.to_wire(), wire):
            self.transport.sendto(datagram, addr)  # type: ignore[attr-defined]  # uvloop's is of a class of its own.


async def test_answers_to_other_questions_are_passed_over() -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Forger, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    try:
        assert await asking(f"{host}:{port}", seconds=5.0).ask("7.2.0.192.list.test", "A") == ()
    finally:
        transport.close()


def test_names_of_addresses() -> None:
    assert reversed_name("192.0.2.99") == "99.2.0.192"
    assert (
        reversed_name("2001:db8:1:2:3:4:567:89ab") == "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2"
    )
    with pytest.raises(ValueError, match="does not appear to be"):
        reversed_name("example.test")
