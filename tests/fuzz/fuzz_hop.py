"""A hostile next hop: whatever it says, and when, a message counts as taken only if it has said so itself.

Two mail transactions run over one connection. The hop's octets come in the pieces that it likes (divided by 0x1e). The
reference goes through its replies one by one, as the standard numbers them.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Iterator
from typing import Any, cast

from outbound_guard.delivery.connection import Broken, Connection
from outbound_guard.delivery.wire import Extensions, Mail
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from tests.fuzz.target import Choices, Target, holds

MAIL = Mail(Envelope("a@x.example", ("b@y.example", "c@y.example")), (b"Subject: x\r\n\r\n.y\r\n",))
_LINE = re.compile(rb"([2-5]\d\d)([ -].*|)", re.S)
Outcome = list[Reply] | Broken


class Paper:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written, self.aborted = b"", False

    def set_protocol(self, protocol: Any) -> None:
        pass

    def write(self, data: bytes) -> None:
        holds(not self.aborted, "writes to who is gone", data)
        self.written += data

    def writelines(self, data: list[bytes]) -> None:
        self.write(b"".join(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@functools.cache
def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def attempt(octets: bytes) -> None:
    choices = Choices(octets)
    pipelining = choices.number(2) == 0
    chunks = choices.rest().split(b"\x1e")
    outcomes, written = _runner().run(played(chunks, pipelining))
    commands, _ = MAIL.commands(Extensions(pipelining=pipelining))
    body = b"".join(MAIL.body)
    expected = reference(codes(b"".join(chunks)), pipelining)
    bodies = written.count(body)
    for number, outcome in enumerate(outcomes):
        if isinstance(outcome, Broken):
            # If it was sent, and no 421 has said what became of it, it may have been taken.
            finished = sum(1 for one in expected[:number] if one is not None and one[1])
            holds(outcome.reply is not None or outcome.sent == (bodies > finished), outcome, written)
            continue
        holds(number < len(expected) and expected[number] is not None, "said more than the hop", outcome, chunks)
        wanted, _ = cast(tuple[list[int], bool], expected[number])
        holds([reply.code for reply in outcome] == wanted, "said something else", outcome, wanted)
    # Nothing is written but these, and a message only if somebody is to get it.
    rest = written
    for piece in (body, *commands, b".\r\n", b"RSET\r\n", b"QUIT\r\n"):
        rest = rest.replace(piece, b"")
    holds(not rest, "writes something else", rest)
    holds(bodies <= codes(b"".join(chunks)).count(354), "sends a message that was not asked for")


async def played(chunks: list[bytes], pipelining: bool) -> tuple[list[Outcome], bytes]:
    """What comes of two transactions, and what was written."""
    paper = Paper()
    connection = Connection(cast(Any, paper), Extensions(pipelining=pipelining), 300.0, lambda _: None)
    outcomes: list[Outcome] = []

    async def transact() -> None:
        for _ in range(2):
            commands, _ = MAIL.commands(connection.extensions)
            try:
                outcomes.append(await connection.transact(commands, MAIL.body))
            except Broken as broken:
                outcomes.append(broken)
                return

    work = asyncio.ensure_future(transact())
    await asyncio.sleep(0)
    for chunk in chunks:
        if connection.closed:
            break
        connection.data_received(chunk)
        for _ in range(3):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    await work
    return outcomes, paper.written


def codes(stream: bytes) -> list[int]:
    """The codes of the replies in a stream, up to where it is no SMTP any more."""
    found: list[int] = []
    open_ = 0
    *lines, _ = stream.split(b"\n")
    for line in lines:
        read = _LINE.fullmatch(line.removesuffix(b"\r"))
        if read is None or (open_ and int(read[1]) != open_):
            break
        open_ = int(read[1]) if read[2][:1] == b"-" else 0
        if not open_:
            found.append(int(read[1]))
    return found


def reference(said: list[int], pipelining: bool) -> list[tuple[list[int], bool] | None]:
    """For each transaction the code for each recipient, and if the message was sent; None where it cannot be told."""
    found: list[tuple[list[int], bool] | None] = []
    at = 0
    for _ in range(2):
        one, at = transaction(said, at, pipelining)
        found.append(one)
        if one is None:
            break
    return found


def transaction(said: list[int], at: int, pipelining: bool) -> tuple[tuple[list[int], bool] | None, int]:
    """One transaction from a place in the replies on, and the place behind it."""
    count = len(MAIL.replies)
    if not pipelining and said[at : at + 1] and said[at] >= 400:
        return ([said[at]] * count, False), at + 1
    mail, *to = said[at : at + 1 + count] or [0]
    if len(to) < count or 421 in (mail, *to):
        return None, at
    at += 1 + count
    if not pipelining and min(to) >= 400:
        return (to, False), at + 1
    data = said[at : at + 1]
    if not data or data[0] == 421:
        return None, at
    at += 1
    if mail >= 400:
        return ([mail] * count, False), at + (2 if data[0] == 354 else 1)
    if data[0] != 354:
        return ([code if code >= 400 else data[0] for code in to], False), at + 1
    if min(to) >= 400:
        return (to, False), at + 2
    if not said[at : at + 1] or said[at] == 421:
        return None, at
    return ([code if code >= 400 else said[at] for code in to], True), at + 1


def seeds() -> Iterator[bytes]:
    granted = b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n"
    yield b"\0" + (granted + b"\x1e250 2.0.0 Ok\r\n\x1e") * 2
    yield b"\0" + granted + b"\x1e451 4.3.0 later\r\n\x1e" + granted + b"\x1e550 no\r\n"
    yield b"\x00250 a\r\n550 5.1.1 b\r\n250 c\r\n354 go\r\n\x1e250 ok\r\n\x1e"
    yield b"\x00250 a\r\n550 b\r\n450 c\r\n554 none\r\n\x1e250 reset\r\n\x1e" + granted + b"\x1e250 ok\r\n"
    yield b"\x00250 a\r\n550 b\r\n450 c\r\n354 go\r\n\x1e554 none\r\n250 reset\r\n\x1e" + granted + b"\x1e250 ok\r\n"
    yield b"\x00550 a\r\n503 b\r\n503 c\r\n503 d\r\n\x1e250 reset\r\n\x1e" + granted + b"\x1e421 bye\r\n"
    yield b"\0" + granted + b"250 too early\r\n"
    yield b"\x00250-a\r\n250 a\r\n250 b\r\n250 c\r\n354 go\r\n\x1e250-x\r\n250 y\r\n"
    for line in (granted * 2, granted + b"250 ok\r\n250 ok\r\n"):
        yield b"\1" + line.replace(b"\r\n", b"\r\n\x1e") + b"250 ok\r\n"
    yield b"\x01550 a\r\n\x1e" + granted.replace(b"\r\n", b"\r\n\x1e") + b"250 ok\r\n"
    yield b"\x01250 a\r\n\x1e550 b\r\n\x1e550 c\r\n\x1e250 reset\r\n\x1e"


WORDS = (
    *(
        b"\x1e",
        b"\r\n",
        b"\n",
        b"\r",
        b"250 ok\r\n",
        b"250-",
        b"250 ",
        b"354 go\r\n",
        b"550 5.1.1 no\r\n",
        b"451 later\r\n",
    ),
    *(
        b"421 bye\r\n",
        b"221 bye\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n",
        b"\x1e250 2.0.0 Ok\r\n",
        b"252 x\r\n",
        b"600 ",
    ),
    *(b"250\r\n", b"2", b"\xff", b"\0", b"503-", b"554 none\r\n"),
)
TARGET = Target(attempt, seeds, WORDS, lead=1, longest=800)
