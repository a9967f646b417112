"""Commands that wait for nothing are carried out as they come in, without the session's coroutine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from outbound_guard.edge.session import Session
from tests.live_edge import LiveEdge

MAIL, RCPT, DATA = b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.net>\r\n", b"DATA\r\n"


class Recorder(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def said(self) -> list[str]:
        """The replies since the last call, by their first nine letters."""
        lines, self.written = self.written.decode().splitlines(), b""
        return [line[:9] for line in lines]


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def greeted(edge: LiveEdge) -> AsyncIterator[tuple[Session, Recorder]]:
    """A session after EHLO."""
    session, transport = Session(edge.edge.terms), Recorder()
    session.connection_made(transport)
    session.data_received(b"EHLO a\r\n")
    await turn()
    transport.said()
    yield session, transport
    session.connection_lost(None)
    await turn()
    assert edge.sessions.room.used == 0


async def test_the_answer_is_there_before_the_loop_turns(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):
        for command, answer in ((MAIL, "250 2.1.0"), (RCPT, "250 2.1.5"), (DATA, "354 End d")):
            session.data_received(command)
            assert transport.said() == [answer]
        session.data_received(b"x\r\n")
        session.data_received(b".\r\nRSET\r\n" + MAIL)
        session.data_received(RCPT)
        await turn()
        assert transport.said() == ["250 2.0.0", "250 2.0.0", "250 2.1.0", "250 2.1.5"]
        assert [message.content for message in edge.messages] == [b"x\r\n"]
        # Again by itself, now that the buffer is empty; and all of a message in one piece.
        session.data_received(b"RSET\r\n" + MAIL + RCPT + DATA + b"y\r\n.\r\nNOOP\r\n")
        await turn()
        assert transport.said() == ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354 End d", "250 2.0.0", "250 2.0.0"]
        assert [message.content for message in edge.messages] == [b"x\r\n", b"y\r\n"]


async def test_what_follows_waits_its_turn(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):
        # The second command is the coroutine's, so the third must not overtake it, whenever it comes.
        session.data_received(MAIL + b"NOOP\r\n" + RCPT[:4])
        session.data_received(RCPT[4:] + b"rset\r\n")
        assert transport.said() == []
        await turn()
        assert transport.said() == ["250 2.1.0", "250 2.0.0", "250 2.1.5", "250 2.0.0"]


async def test_a_fault_in_it_is_answered_for_now(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):

        def fault(subject: str) -> None:
            raise RuntimeError("a secret of ours")

        admit, edge.edge.terms.admit = edge.edge.terms.admit, fault
        session.data_received(MAIL + RCPT)
        await turn()
        assert transport.said() == ["451 4.3.0", "503 5.5.1"]
        assert edge.counts["smtp_faults_total", "command"] == 1
        edge.edge.terms.admit = admit
        session.data_received(MAIL)
        assert transport.said() == ["250 2.1.0"]


async def test_too_many_errors_end_the_session(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"errors": 3}}) as edge, greeted(edge) as (session, transport):
        for _ in range(3):
            session.data_received(RCPT)
        await turn()
        assert transport.said() == ["503 5.5.1"] * 3 + ["421 4.7.0"]
        assert transport.closed


async def test_a_flood_leaves_others_their_turn(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):
        session.data_received(MAIL + RCPT * 1000)
        heard = len(session.recipients)
        assert 0 < heard <= 100
        for _ in range(30):
            await asyncio.sleep(0)
        assert len(session.recipients) == 1000
        assert len(transport.said()) == 1001


async def test_a_message_that_never_ends_gives_its_room_back(tmp_path: Path) -> None:
    for how in ("lost", "late"):
        async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):
            session.data_received(MAIL)
            session.data_received(RCPT)
            session.data_received(DATA)
            session.data_received(b"x" * 5000)
            assert edge.sessions.room.used == 5000
            if how == "late":
                session.check_time(asyncio.get_running_loop().time() + 10_000)
                await turn()
                assert transport.said()[-1] == "421 4.4.2"
                assert edge.sessions.room.used == 0


async def test_a_session_that_is_to_end_takes_no_command(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge, greeted(edge) as (session, transport):
        session.data_received(MAIL)
        edge.sessions.stopping = True
        # The transaction is finished, and with it the session.
        session.data_received(RCPT + DATA + b"x\r\n.\r\n" + MAIL)
        await turn()
        assert transport.said() == ["250 2.1.0", "250 2.1.5", "354 End d", "250 2.0.0", "421 4.3.2"]
        assert len(edge.messages) == 1
