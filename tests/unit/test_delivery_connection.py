"""The transaction protocol on a transport that is only written down: what cannot be seen from the other side."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from outbound_guard.delivery.connection import Broken, Connection
from outbound_guard.delivery.wire import Extensions
from outbound_guard.reply import Reply

COMMANDS = [b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@y>\r\n", b"RCPT TO:<c@y>\r\n", b"DATA\r\n"]
BODY = [b"hello\r\n", b".\r\n"]
GRANTED = b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n"
OK = Reply(250, "", "Ok")


class PaperTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.aborted = False

    def set_protocol(self, protocol: Any) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, data: list[bytes]) -> None:
        self.written += b"".join(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def paper() -> PaperTransport:
    return PaperTransport()


@pytest.fixture
async def connection(paper: PaperTransport) -> Connection:
    return Connection(cast(Any, paper), Extensions(pipelining=True), 300.0, lambda _: None)


async def begun(connection: Connection) -> asyncio.Task[list[Reply]]:
    task = asyncio.create_task(connection.transact(COMMANDS, BODY))
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("cut", range(1, len(GRANTED)))
async def test_the_group_is_understood_wherever_its_answer_is_cut(
    connection: Connection, paper: PaperTransport, cut: int
) -> None:
    task = await begun(connection)
    assert paper.written == b"".join(COMMANDS)
    connection.data_received(GRANTED[:cut])
    assert paper.written == b"".join(COMMANDS)
    connection.data_received(GRANTED[cut:])
    assert paper.written == b"".join(COMMANDS + BODY)
    connection.data_received(b"250 Ok\r\n")
    assert await task == [OK, OK]


@pytest.mark.parametrize(
    "answer",
    [
        b"250 a\r\n250 b\r\n250-c\r\n250 c\r\n354 go\r\n",
        b"250 a\r\n251 b\r\n250 c\r\n354 go\r\n",
        b"250 a\n250 b\n250 c\n354 go\n",
        b"250\r\n250\r\n250\r\n354\r\n",
    ],
)
async def test_less_plain_grants_are_grants(connection: Connection, paper: PaperTransport, answer: bytes) -> None:
    task = await begun(connection)
    connection.data_received(answer)
    connection.data_received(b"250 Ok\r\n")
    assert await task == [OK, OK]
    assert paper.written == b"".join(COMMANDS + BODY)


@pytest.mark.parametrize(
    "answer",
    [
        b"250 a\r\n550 b\n250 b\r\n250 c\r\n354 go\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n250 d\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n354 go\r\n2",
        b"250 a\r\n250 b\r\n250 c\r\n250 d\r\n",
        b"250 a\r\n250 b\r\n250 c\r\n220 d\r\n",
        b"354 a\r\n",
    ],
)
async def test_an_answer_out_of_step_ends_it_before_the_message_is_sent(
    connection: Connection, paper: PaperTransport, answer: bytes
) -> None:
    task = await begun(connection)
    connection.data_received(answer)
    with pytest.raises(Broken) as caught:
        await task
    assert (caught.value.reason, caught.value.sent) == ("malformed", False)
    assert paper.aborted
    assert b"hello" not in paper.written


async def test_what_granted_one_group_is_too_much_for_a_smaller_one(
    connection: Connection, paper: PaperTransport
) -> None:
    for _ in range(2):
        task = await begun(connection)
        connection.data_received(GRANTED)
        connection.data_received(b"250 Ok\r\n")
        assert await task == [OK, OK]
    assert paper.written == b"".join(COMMANDS + BODY) * 2
    fewer = asyncio.create_task(connection.transact([*COMMANDS[:2], b"DATA\r\n"], BODY))
    await asyncio.sleep(0)
    connection.data_received(GRANTED)
    assert paper.aborted
    with pytest.raises(Broken) as caught:
        await fewer
    assert (caught.value.reason, caught.value.sent) == ("malformed", False)


async def test_a_mixed_answer_with_a_bare_line_feed_is_read_line_by_line(
    connection: Connection, paper: PaperTransport
) -> None:
    task = await begun(connection)
    connection.data_received(b"250 a\n550 b\r\n250 c\r\n354 go\r\n")
    connection.data_received(b"250 Ok\r\n")
    assert await task == [Reply(550, "", "b"), OK]


async def test_the_next_transaction_waits_for_the_answer_to_rset(connection: Connection, paper: PaperTransport) -> None:
    first = await begun(connection)
    connection.data_received(b"250 a\r\n550 b\r\n550 c\r\n354 go\r\n")
    assert [reply.code for reply in await first] == [550, 550]
    assert paper.written.endswith(b"DATA\r\n.\r\nRSET\r\n")
    second = await begun(connection)
    assert paper.written.endswith(b"RSET\r\n")
    connection.data_received(b"554 nobody\r\n")
    assert paper.written.endswith(b"RSET\r\n")
    connection.data_received(b"250 Ok\r\n")
    assert paper.written.endswith(b"RSET\r\n" + b"".join(COMMANDS))
    connection.data_received(GRANTED)
    connection.data_received(b"250 Ok\r\n")
    assert await second == [OK, OK]


async def test_a_large_message_has_time_as_long_as_it_goes_forward_fast_enough(
    connection: Connection, paper: PaperTransport
) -> None:
    task = asyncio.create_task(connection.transact(COMMANDS, [bytes(2_000_000)]))
    await asyncio.sleep(0)
    connection.data_received(GRANTED)
    now = asyncio.get_running_loop().time()
    for unsent in (1_600_000, 1_300_000, 1_000_000):
        paper.unsent = unsent
        now += 301
        connection.check(now)
        assert not paper.aborted
    # A thousand octets a second are the least.
    paper.unsent = 701_000
    now += 301
    connection.check(now)
    assert paper.aborted
    with pytest.raises(Broken) as caught:
        await task
    assert (caught.value.reason, caught.value.sent) == ("timeout", True)


async def test_a_refusal_before_the_end_counts_but_the_connection_does_not_live(
    connection: Connection, paper: PaperTransport
) -> None:
    task = await begun(connection)
    connection.data_received(GRANTED)
    paper.unsent = 1
    connection.data_received(b"552 5.3.4 too large\r\n")
    assert await task == [Reply(552, "5.3.4", "too large")] * 2
    assert connection.closed


async def test_a_closed_connection_takes_no_transaction(connection: Connection) -> None:
    connection.connection_lost(None)
    with pytest.raises(Broken):
        await connection.transact(COMMANDS, BODY)
