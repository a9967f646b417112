"""Work on all of a large message is done in steps, in a thread; what comes of it is what one step would give."""

from __future__ import annotations

import random
import threading

import pytest

from outbound_guard.content import mime
from outbound_guard.content.message import Message
from outbound_guard.delivery import dkim, wire
from outbound_guard.mail import Envelope

ENVELOPE = Envelope("a@x.example", ("b@y.example",))
PIECES = (b"\r\n", b"\r\n.", b".", b" ", b"\t", b" \r\n", b"a", b"--b", b"\r\n--b\r\n", b"\r\n\r\n")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of seven octets, so that everything falls between two of them."""
    for module in (mime, wire, dkim):
        monkeypatch.setattr(module, "LARGE", 7)


def octets(dice: random.Random, most: int = 60) -> bytes:
    return b"".join(dice.choices(PIECES, k=dice.randint(0, most)))


@pytest.mark.usefixtures("steps")
def test_delimiters_are_found_where_they_are() -> None:
    dice = random.Random(1)
    for _ in range(3000):
        content, delimiter = octets(dice), dice.choice((b"\r\n--b", b"\r\n--bb", b"\r\n-"))
        start, stop = sorted((dice.randint(0, len(content)), dice.randint(0, len(content))))
        assert mime._find(content, delimiter, start, stop) == content.find(delimiter, start, stop)


def plainly(content: bytes) -> bytes:
    """A message in wire form, line by line (RFC 5321 4.5.2)."""
    lines = content.split(b"\r\n")
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    return stuffed + (b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n")


@pytest.mark.usefixtures("steps")
def test_dots_are_doubled_wherever_the_pieces_end() -> None:
    dice = random.Random(2)
    for _ in range(3000):
        pieces = [octets(dice, 12) for _ in range(dice.randint(1, 4))]
        assert b"".join(wire.framed(pieces)) == plainly(b"".join(pieces)), pieces


def test_the_same_in_one_step() -> None:
    dice = random.Random(3)
    for _ in range(1000):
        pieces = [octets(dice, 12) for _ in range(dice.randint(1, 4))]
        assert b"".join(wire.framed(pieces)) == plainly(b"".join(pieces)), pieces


def test_what_is_signed_is_the_same_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(4)
    bodies = [octets(dice) for _ in range(2000)]
    whole = [dkim._body(body) for body in bodies]
    monkeypatch.setattr(dkim, "LARGE", 7)
    assert [dkim._body(body) for body in bodies] == whole


@pytest.mark.parametrize("octets", [1000, 3_000_000])
async def test_a_large_message_is_made_ready_in_a_thread(octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    framed = wire.framed
    monkeypatch.setattr(wire, "framed", lambda content: threads.append(threading.current_thread()) or framed(content))
    mail = await wire.made_ready(ENVELOPE, [b"\r\n" + b".\r\n" * (octets // 3)])
    assert b"".join(mail.body) == plainly(b"\r\n" + b".\r\n" * (octets // 3))
    assert (threads == [threading.main_thread()]) == (octets == 1000)


def test_a_large_body_is_read_once() -> None:
    head = b"From: a@x.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    part = b"--b\r\nContent-Type: application/pdf; name=%d.pdf\r\n\r\n" + b"x" * 1_500_000 + b"\r\n"
    message = Message(head + b"--b\r\n\r\nhello\r\n" + part % 1 + part % 2 + b"--b--\r\n")
    message.read()
    body = message._body
    assert [attachment.name for attachment in message.attachments] == ["1.pdf", "2.pdf"]
    assert message.plain_text == "hello"
    assert message._body is body
