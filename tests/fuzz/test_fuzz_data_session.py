"""Whole sessions: what is answered and accepted must not depend on how the client's octets are cut up."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from outbound_guard.edge import wire
from outbound_guard.edge.session import Session
from tests.fuzz.data_streams import cut
from tests.live_edge import LiveEdge

WORDS = (
    b"EHLO a\r\n",
    b"NOOP\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"MAIL FROM:<a@example.com> SIZE=9999\r\n",
    b"RCPT TO:<b@example.net>\r\n",
    b"RCPT TO:<nobody>\r\n",
    b"RSET\r\n",
    b"nonsense\xff\r\n",
    b"AUTH PLAIN\r\n",
    b"AGJvYgB3cm9uZw==\r\n",
    b"*\r\n",
    b"A" * 600 + b"\r\n",
)
MESSAGE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
CONTENT = (b"x\r\n", b".y\r\n", b"..\r\n", b"\r\n", b"\n.\r\n", b"\r.\r\n", b"z" * 50 + b"\r\n", b"NOOP\r\n")
ENDS = (b"QUIT\r\n", b"NOOP\nNOOP\r\n", b"NOOP\rNOOP\r\n", b"GET / HTTP/1.1\r\n", b"BDAT 5\r\n", b"half a li", b"")


class Collector(asyncio.Transport):
    """A transport that keeps what is written until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def get_extra_info(self, name, default=None):
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data):
        assert not self.closed
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = write_eof = close

    def can_write_eof(self):
        return True

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def stream(dice: random.Random) -> bytes:
    parts = [b"EHLO a\r\n"]
    for _ in range(dice.randint(0, 12)):
        if dice.random() < 0.5:
            parts.append(dice.choice(WORDS))
        else:
            content = dice.choices(CONTENT[:4] + CONTENT[6:] if dice.random() < 0.7 else CONTENT, k=dice.randint(0, 6))
            parts += [MESSAGE, *content, b".\r\n"]
    return b"".join(parts) + dice.choice(ENDS)


async def play(edge: LiveEdge, chunks: list[bytes], dice: random.Random) -> tuple[bytes, list[bytes], bool]:
    edge.messages.clear()
    session, transport = Session(edge.edge.terms), Collector()
    session.connection_made(transport)
    for chunk in chunks:
        if transport.closed:
            break
        session.data_received(chunk)
        for _ in range(dice.randint(0, 3)):
            await asyncio.sleep(0)
    for _ in range(60):
        await asyncio.sleep(0)
    outcome = (transport.written, [message.content for message in edge.messages], transport.closed)
    session.connection_lost(None)
    await asyncio.sleep(0)
    return outcome


async def test_however_a_session_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_LONGEST_LINE", 500)
    limits = {"errors": 1000, "message_size": 100, "auth_tries": 1000}
    dice = random.Random(4)
    accepted = 0
    async with LiveEdge(tmp_path, {"listener": {"auth": "optional"}, "limits": limits}) as edge:
        # Wrong passwords are checked in threads, whose order is not what this is about.
        edge.passwords.check = never
        for _ in range(150):
            octets = stream(dice)
            whole = await play(edge, [octets], dice)
            for _ in range(2):
                assert await play(edge, cut(dice, octets), dice) == whole, octets
            accepted += len(whole[1])
    assert accepted > 50


async def never(user: str, password: bytes) -> bool:
    return False
