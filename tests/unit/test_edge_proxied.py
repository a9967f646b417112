"""PROXY headers, and XCLIENT's words; the dialogues show the rest."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.edge import opening, xclient
from outbound_guard.edge.proxied import UNKNOWN, Client, Malformed, crc32c, take
from outbound_guard.edge.sessions import whose
from tests.live_edge import Client as SmtpClient
from tests.live_edge import LiveEdge, client_tls

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack(">HH", 40000, 25)
SIX = ipaddress.ip_address("2001:db8::7").packed + ipaddress.ip_address("2001:db8::1").packed + FOUR[-4:]


def binary(kind: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, kind, len(body)) + body


def field(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def summed(body: bytes) -> bytes:
    """The header with its checksum."""
    blank = binary(0x11, body + field(3, bytes(4)))
    return blank[:-4] + struct.pack(">I", crc32c(blank))


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n", Client("192.0.2.7", 40000)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Client("255.255.255.255", 65535)),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 40000 25\r\n", Client("2001:db8::7", 40000)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", Client("192.0.2.7", 1)),
    (b"PROXY UNKNOWN\r\n", UNKNOWN),
    (b"PROXY UNKNOWN ffff:f::1 whatever\r\n", UNKNOWN),
    (binary(0x11, FOUR), Client("192.0.2.7", 40000)),
    (binary(0x21, SIX), Client("2001:db8::7", 40000)),
    (binary(0x11, FOUR + field(2, b"host.example") + field(4, b"\0" * 9)), Client("192.0.2.7", 40000)),
    (summed(FOUR), Client("192.0.2.7", 40000)),
    (binary(0x11, FOUR, command=0x20), UNKNOWN),
    (binary(0, b"", command=0x20), UNKNOWN),
    (binary(0x31, bytes(216)), UNKNOWN),
    (binary(0x12, FOUR), UNKNOWN),
]
BAD = [
    b"EHLO a.example",
    b"PROXX TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 26\r\n",
    b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4\r0 25\r\n",
    b"PROXY TCP4 192.0.2.300 198.51.100.1 40000 25\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 25\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 40000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 25\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 25\r\n",
    b"PROXY UNKNOWN " + b"x" * 107,
    binary(0x11, FOUR, command=0x31),
    binary(0x11, FOUR, command=0x22),
    binary(0x41, FOUR),
    binary(0x13, FOUR),
    binary(0x11, FOUR[:-1]),
    binary(0x21, FOUR),
    binary(0x31, bytes(215)),
    binary(0x11, FOUR + b"\4"),
    binary(0x11, FOUR + b"\4\0\5x"),
    binary(0x11, FOUR + field(3, bytes(4))),
    binary(0x11, FOUR + field(3, b"\0")),
    summed(FOUR)[:-1] + b"\0",
    binary(0x11, bytes(5000))[:16],
]


@pytest.mark.parametrize(("header", "client"), GOOD)
def test_headers(header: bytes, client: Client) -> None:
    assert take(header + b"EHLO a\r\n") == (client, len(header))
    for cut in range(len(header)):
        assert take(header[:cut]) is None


@pytest.mark.parametrize("header", BAD)
def test_what_is_no_header(header: bytes) -> None:
    with pytest.raises(Malformed):
        take(header)


def test_the_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # The known value of this checksum.


@given(st.sampled_from([b"", SIGNATURE, b"PROXY TCP4 ", binary(0x11, FOUR)[:16]]), st.binary(max_size=300))
def test_octets_of_any_kind(start: bytes, rest: bytes) -> None:
    octets = start + rest
    with contextlib.suppress(Malformed):
        found = take(octets)
        if found is not None:
            client, length = found
            assert 0 < length <= len(octets)
            assert take(octets[:length]) == found
            if client.address:
                assert str(ipaddress.ip_address(client.address)) == client.address
                assert 0 <= client.port <= 65535


@given(st.text(max_size=100) | st.from_regex(r"(ADDR|LOGIN|HELO|PORT|NAME)=[!-~]{0,30}( (LOGIN|HELO)=[!-~]{0,30})?"))
def test_words_of_any_kind(words: str) -> None:
    said = xclient.take(words)
    if said is None:
        return
    if said.address:
        assert str(ipaddress.ip_address(said.address)) == said.address
    for text in (said.login or "", said.helo or ""):
        # What stands in Received fields, logs and keys.
        assert text.isprintable()
        assert " " not in text
        assert len(text) <= 255
    assert not set("(),;<>") & set(said.helo or "")


def test_whose() -> None:
    assert whose("192.0.2.1") == "192.0.2.1"
    assert whose("2001:db8:1:2:3:4:5:6") == whose("2001:db8:1:2::1") == "2001:db8:1:2::"
    assert whose("2001:db8:1:3::1") != whose("2001:db8:1:2::1")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("how", ["at once", "in two", "octet by octet"])
def test_a_header_before_the_handshake(tmp_path: Path, loop: object, how: str) -> None:
    """A plain client in a thread: the header and the first words of TLS may come in one piece, or in many."""

    def talk(port: int) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = client_tls().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            first = binary(0x11, FOUR)
            if how == "in two":
                connection.sendall(first)
                first = b""

            def step(act):
                nonlocal first
                while True:
                    try:
                        return act()
                    except ssl.SSLWantReadError:
                        octets, first = first + outgoing.read(), b""
                        step_size = 1 if how == "octet by octet" else len(octets) or 1
                        for start in range(0, len(octets), step_size):
                            connection.sendall(octets[start : start + step_size])
                        incoming.write(connection.recv(65_536))

            step(secure.do_handshake)
            greeting = step(lambda: secure.read(1000))
            secure.write(b"HELO a\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n")
            connection.sendall(outgoing.read())
            while b"221" not in greeting:
                greeting += step(lambda: secure.read(1000))
            return greeting

    async def run() -> None:
        listener = {"tls": "implicit", "proxy_protocol": ["127.0.0.0/8"], "trusted": ["192.0.2.0/24"]}
        async with LiveEdge(tmp_path, {"listener": listener}) as edge:
            said = await asyncio.to_thread(talk, edge.port)
            assert [line[:3] for line in said.splitlines()] == [b"220", b"250", b"250", b"221"]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def test_the_limit_counts_the_client_and_not_the_load_balancer(tmp_path: Path) -> None:
    settings = {"listener": {"proxy_protocol": ["127.0.0.0/8"]}, "limits": {"connections_per_address": 2}}
    async with LiveEdge(tmp_path, settings) as edge:
        clients, greetings = [], []
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"):
            client = await SmtpClient.connect(edge)
            greetings.append((await client.ask(f"PROXY TCP4 {address} 198.51.100.1 1 2\r\n".encode()))[:9])
            clients.append(client)
        assert greetings == ["220 guard", "220 guard", "220 guard", "421 4.7.0"]
        for client in clients:
            await client.close()


async def test_a_load_balancer_that_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_HEADER_SECONDS", 0.1)
    async with LiveEdge(tmp_path, {"listener": {"proxy_protocol": ["127.0.0.0/8"]}}) as edge:
        client = await SmtpClient.connect(edge)
        client.send(b"PROXY TCP4 ")
        assert (await client.reply()).startswith("421 4.4.2 ")
        assert await client.reply() == ""
        assert edge.counts["smtp_timeouts_total", "proxy"] == 1
        await client.close()
