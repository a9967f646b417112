"""What a dialogue file cannot show: limits across sessions, draining, many octets, how replies are written."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from outbound_guard.edge import wire
from outbound_guard.edge.session import Session
from tests.live_edge import Client, LiveEdge, until

MESSAGE = b"MAIL FROM:<%s@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\n.\r\n"


async def hello(edge: LiveEdge) -> Client:
    client = await Client.connect(edge)
    assert (await client.reply()).startswith("220 ")
    assert (await client.ask(b"EHLO a\r\n")).startswith("250")
    return client


async def test_ipv6(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, host="::1") as edge:
        client = await hello(edge)
        client.send(MESSAGE % b"a")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
        assert edge.messages[0].client_ip == "::1"
        assert edge.messages[0].client_port == client.writer.get_extra_info("sockname")[1]
        await client.close()


async def test_ipv4_in_ipv6_counts_as_ipv4(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        session = Session(edge.edge.terms)
        session.connection_made(Recorder("::ffff:192.0.2.1"))
        assert session.client_ip == "192.0.2.1"
        session.connection_lost(None)
        await asyncio.sleep(0)


class Recorder(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self, peer: str = "127.0.0.1") -> None:
        super().__init__()
        self.peer, self.writes, self.closed = peer, [], False

    def get_extra_info(self, name, default=None):
        return (self.peer, 1) if name == "peername" else default

    def write(self, data):
        self.writes.append(data)

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_one_write_for_what_came_in_at_once(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        await turn()
        session.data_received(b"EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        await turn()
        for octet in b"hello\r\n.":
            session.data_received(bytes([octet]))
            await turn()
        session.data_received(b"\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n")
        await turn()
        assert len(transport.writes) == 3
        assert [reply[:3] for reply in transport.writes[2].splitlines()] == [b"250", b"250", b"221"]
        assert transport.closed
        session.connection_lost(None)


async def test_nobody_gets_a_second_message_out_of_a_late_chunk(tmp_path: Path) -> None:
    # Between the end of a message and its acceptance more may come in; it is commands, not content.
    async with LiveEdge(tmp_path) as edge:
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        session.data_received(b"EHLO a\r\nMAIL FROM:<slow@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        await turn()
        session.data_received(b"x\r\n.\r\nNO")
        session.data_received(b"OP\r\n")
        await turn()
        session.data_received(b"NOOP\r\n")
        edge.release.set()
        await turn()
        assert edge.messages[0].content == b"x\r\n"
        assert transport.writes[-1].count(b"250 2.0.0 Ok\r\n") == 2
        session.connection_lost(None)
        await turn()


@pytest.mark.parametrize(("octets", "reply"), [(12_288, "250 2.0.0"), (12_289, "500 5.5.2"), (300_000, "500 5.5.2")])
async def test_long_command_lines(tmp_path: Path, octets: int, reply: str) -> None:
    async with LiveEdge(tmp_path) as edge:
        client = await hello(edge)
        client.send(b"NOOP " + b"x" * (octets - 5) + b"\r\nHELP\r\n")
        assert (await client.reply()).startswith(reply)
        assert (await client.reply()).startswith("214 ")
        await client.close()


async def test_a_long_line_is_not_kept(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        for _ in range(100):
            await turn()
            session.data_received(b"x" * 60_000)
        assert len(session.unread) <= 2 * wire._BUFFERED
        session.connection_lost(None)
        await turn()


async def test_a_message_of_one_line(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        client = await hello(edge)
        client.send(MESSAGE.replace(b"x\r\n", b"\r\n" + b"x" * 3_000_000 + b"\r\n") % b"a")
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
        assert len(edge.messages[0].content) == 3_000_004
        await client.close()


async def test_a_flood_of_commands_is_answered_in_full(tmp_path: Path) -> None:
    # More replies than fit in the socket: the server must wait for the client to read, and lose none.
    async with LiveEdge(tmp_path, {"limits": {"commands": 1_000_000}}) as edge:
        client = await hello(edge)
        number = 200_000

        async def send() -> None:
            for _ in range(number // 1000):
                client.send(b"NOOP\r\n" * 1000)
                await client.writer.drain()
            client.send(b"QUIT\r\n")

        sending = asyncio.create_task(send())
        received = await client.reader.read()
        await sending
        assert received == b"250 2.0.0 Ok\r\n" * number + b"221 2.0.0 Bye\r\n"
        await client.close()


async def test_limits_of_connections(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"connections": 3, "connections_per_address": 2}}) as edge:
        clients = [await hello(edge) for _ in range(2)]
        third = await Client.connect(edge)
        assert (await third.reply()).startswith("421 4.7.0 ")
        assert await third.reply() == ""
        await third.close()
        assert edge.counts["smtp_sessions_refused_total", "127.0.0.1:0", "connections_per_address"] == 1
        leaving = clients.pop()
        assert (await leaving.ask(b"QUIT\r\n")).startswith("221 ")
        await leaving.close()
        await until(lambda: len(edge.sessions) == 1)
        clients.append(await hello(edge))
        for peer in ("192.0.2.1", "192.0.2.2"):
            transport, session = Recorder(peer), Session(edge.edge.terms)
            session.connection_made(transport)
            clients.append((session, transport))
        assert clients[-1][1].writes[0].startswith(b"421 4.3.2 ")
        assert clients[-1][1].closed
        for session, _ in clients[2:]:
            session.connection_lost(None)
        for client in clients[:2]:
            await client.close()
        await until(lambda: not len(edge.sessions))
        assert edge.sessions._by_address == {}


async def test_too_many_logins(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"listener": {"auth": "required"}, "limits": {"auth_tries": 3}}) as edge:
        client = await hello(edge)
        for _ in range(3):
            assert (await client.ask(b"AUTH PLAIN AGJvYgB3cm9uZw==\r\n")).startswith("535 5.7.8 ")
        assert (await client.reply()).startswith("421 4.7.0 ")
        assert await client.reply() == ""
        assert edge.counts["smtp_logins_total", "wrong"] == 3
        await client.close()


@pytest.mark.parametrize("failure", [RuntimeError("no such file"), MemoryError()])
async def test_a_fault_in_checking_passwords_is_ours(
    tmp_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with LiveEdge(tmp_path, {"listener": {"auth": "required"}}) as edge:

        async def check(user: str, password: bytes) -> bool:
            raise failure

        monkeypatch.setattr(edge.passwords, "check", check)
        client = await hello(edge)
        assert (await client.ask(b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n")).startswith("454 4.7.0 ")
        assert "secret" not in caplog.text
        await client.close()


async def test_a_fault_in_a_command_is_ours_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with LiveEdge(tmp_path) as edge:

        def admit(subject: str) -> None:
            raise RuntimeError("the reason")

        edge.edge.terms.admit = admit
        client = await hello(edge)
        assert (await client.ask(b"MAIL FROM:<a@example.com>\r\n")).startswith("451 4.3.0 OG-FAULT ")
        assert (await client.ask(b"NOOP\r\n")).startswith("250 ")
        assert "the reason" in caplog.text
        assert edge.counts["smtp_faults_total", "command"] == 1
        await client.close()


async def test_nothing_of_what_clients_send_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with LiveEdge(tmp_path, {"listener": {"auth": "required"}}) as edge:
        client = await hello(edge)
        assert (await client.ask(b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n")).startswith("235 ")
        client.send(MESSAGE % b"a")
        for _ in range(4):
            await client.reply()
        await client.close()
    assert [record for record in caplog.records if record.name != "asyncio"] == []


async def test_a_client_that_vanishes_during_acceptance_does_not_stop_it(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        client = await hello(edge)
        client.send(MESSAGE % b"slow")
        await edge.accepting.wait()
        client.writer.transport.abort()
        await until(lambda: not len(edge.sessions))
        edge.release.set()
        await until(lambda: edge.messages)
        assert edge.messages[0].envelope.mail_from == "slow@example.com"


async def test_drain(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        idle, busy, open_ = await hello(edge), await hello(edge), await hello(edge)
        busy.send(MESSAGE % b"slow")
        assert (await open_.ask(b"MAIL FROM:<a@example.com>\r\n")).startswith("250 ")
        await edge.accepting.wait()
        draining = asyncio.create_task(edge.sessions.drain(60))
        # Idle ones go at once; new ones do not get in.
        assert (await idle.reply()).startswith("421 4.3.2 OG-STOP ")
        assert await idle.reply() == ""
        late = await Client.connect(edge)
        assert (await late.reply()).startswith("421 4.3.2 ")
        # A message under way is finished, whether it is being accepted or still being sent.
        open_.send(b"RCPT TO:<b@example.net>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n")
        assert [(await open_.reply())[:9] for _ in range(5)] == [
            "250 2.1.5", "354 End d", "250 2.0.0", "421 4.3.2", ""
        ]  # fmt: skip
        assert not draining.done()
        edge.release.set()
        assert [(await busy.reply())[:9] for _ in range(6)] == [
            "250 2.1.0", "250 2.1.5", "354 End d", "250 2.0.0", "421 4.3.2", ""
        ]  # fmt: skip
        await draining
        assert len(edge.messages) == 2
        for client in (idle, busy, open_, late):
            await client.close()


async def test_drain_does_not_wait_for_ever(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        busy = await hello(edge)
        busy.send(MESSAGE % b"slow")
        await edge.accepting.wait()
        await edge.sessions.drain(0)
        assert len(edge.sessions) == 0
        assert edge.messages == []
        assert [(await busy.reply())[:3] for _ in range(4)] == ["250", "250", "354", ""]
        await busy.close()


async def test_drain_tells_a_client_that_is_still_sending(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        slow, open_ = await hello(edge), await hello(edge)
        slow.send(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nhalf a mess")
        assert [(await slow.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        assert (await open_.ask(b"MAIL FROM:<a@example.com>\r\n")).startswith("250 ")
        await edge.sessions.drain(0)
        for client in (slow, open_):
            assert (await client.reply()).startswith("421 4.3.2 OG-STOP ")
            assert await client.reply() == ""
            await client.close()
        assert (len(edge.sessions), edge.messages) == (0, [])


@pytest.mark.parametrize(
    "line",
    [
        "MAIL FROM:<suspended@example.com>",
        "MAIL FROM:<a@example.com> SIZE=999999999999",
        "MAIL FROM:<\u00e9@example.com>",
    ],
)
async def test_whoever_is_refused_again_and_again_is_idle(tmp_path: Path, line: str) -> None:
    async with LiveEdge(tmp_path, {"limits": {"commands": 5}}) as edge:
        client = await hello(edge)
        client.send((line + "\r\n").encode() * 6)
        replies = [(await client.reply())[:3] for _ in range(7)]
        assert replies[3:] == [replies[0], replies[0], "421", ""] or replies[4:] == [replies[0], "421", ""]
        await client.close()


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"idle_seconds": 0.3}}) as edge:
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        session.pause_writing()
        await turn()
        session.data_received(b"NOOP\r\n")
        session.check_time(asyncio.get_running_loop().time() + 0.4)
        assert transport.closed
        assert edge.counts["smtp_timeouts_total", "reply"] == 1
        session.connection_lost(None)
        await turn()


async def test_the_last_words_of_a_session_do_not_wait_for_ever_either(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path) as edge:
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        session.data_received(b"QUIT\r\n")
        await turn()
        assert transport.closed
        transport.closed = False
        session.check_time(asyncio.get_running_loop().time() + 9)
        assert not transport.closed
        session.check_time(asyncio.get_running_loop().time() + 11)
        assert transport.closed
        session.connection_lost(None)


async def test_the_last_reply_arrives_although_more_was_sent(tmp_path: Path) -> None:
    # Closing a socket with octets unread resets the connection, and the reset overtakes the reply.
    async with LiveEdge(tmp_path) as edge:
        for _ in range(20):
            client = await hello(edge)
            client.send(b"GET / HTTP/1.1\r\n" + b"x" * 200_000)
            assert (await client.reply()).startswith("521 5.5.1 ")
            client.send(b"y" * 100_000)
            assert await client.reply() == ""
            await client.close()


async def test_a_command_that_comes_octet_by_octet_gains_no_time(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"idle_seconds": 100}}) as edge:
        loop = asyncio.get_running_loop()
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        await turn()
        for begun in (loop.time(), 0.0):
            for octet in b"NOOP":
                session.data_received(bytes([octet]))
                await turn()
                assert not transport.closed
            if begun:
                # A whole command begins the time anew.
                session.data_received(b"\r\n")
                await turn()
        session.check_time(session._line_since + 99)
        await turn()
        assert not transport.closed
        session._line_since = session._since = loop.time() - 101
        session.data_received(b" ")
        await turn()
        session.check_time(loop.time())
        await turn()
        assert transport.closed
        assert transport.writes[-1].startswith(b"421 4.4.2 ")
        session.connection_lost(None)


async def test_a_message_that_comes_octet_by_octet_gains_no_time(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"idle_seconds": 100, "data_seconds": 600}}) as edge:
        loop = asyncio.get_running_loop()
        session, transport = Session(edge.edge.terms), Recorder()
        session.connection_made(transport)
        session.data_received(b"EHLO a\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        await turn()
        session._started = loop.time() - 601
        session.data_received(b"x")
        session.check_time(loop.time())
        await turn()
        assert transport.writes[-1].startswith(b"421 4.4.2 ")
        assert edge.counts["smtp_timeouts_total", "data"] == 1
        session.connection_lost(None)


async def test_recipients_beyond_the_limit_are_not_refused_for_ever(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"recipients": 2, "commands": 5}}) as edge:
        client = await hello(edge)
        assert (await client.ask(b"MAIL FROM:<a@example.com>\r\n")).startswith("250 ")
        client.send(b"RCPT TO:<b@example.net>\r\n" * 40)
        replies = [(await client.reply())[:3] for _ in range(28)]
        # Ten times as many as a message may have may be too many, and what is left of the commands that lead nowhere.
        assert replies == ["250"] * 2 + ["452"] * 25 + ["421"]
        assert await client.reply() == ""
        await client.close()


async def test_clients_of_one_network_of_ipv6_are_one(tmp_path: Path) -> None:
    async with LiveEdge(tmp_path, {"limits": {"connections_per_address": 2}}) as edge:
        sessions = []
        for number, address in enumerate(("2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1", "2001:db8::3")):
            transport, session = Recorder(address), Session(edge.edge.terms)
            session.connection_made(transport)
            assert transport.closed == (number == 3)
            sessions.append(session)
        for session in sessions:
            session.connection_lost(None)
        await turn()
        assert edge.sessions._by_address == {}
