"""Delivery against a next hop that does whatever next hops do. Every test runs on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from outbound_guard.clock import VirtualClock
from outbound_guard.config import ConfigError, Pool
from outbound_guard.delivery.carrying import BROKEN
from outbound_guard.delivery.hops import BUSY
from outbound_guard.delivery.pool import IDLE_SECONDS, MESSAGES
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.smarthost import Smarthosts
from outbound_guard.mail import Envelope
from outbound_guard.reply import NO_NEXT_HOP, Reply
from tests.nexthop import NextHop

EVENT_LOOPS = ("asyncio", "uvloop")

StartHop = Callable[..., Awaitable[NextHop]]
StartPool = Callable[..., Smarthosts]

ACCEPTED = Reply(250, "2.0.0", "Ok: queued as TEST")
CONTENT = [b"Received: from a\r\n\tby b\r\n", b"Subject: hello\r\n\r\nA line.\r\n.a dot\r\n..\r\nthe end.\r\n"]
ONE = Envelope("from@x.test", ("to@y.test",))
TWO = Envelope("from@x.test", ("one@y.test", "two@y.test"))


async def refusing_address() -> str:
    """An address where nobody listens."""
    hop = await NextHop().start()
    await hop.stop()
    return hop.address


def ok(result: Result, hop: NextHop, count: int = 1) -> bool:
    return result == Result((ACCEPTED,) * count, hop.address)


class TestTransactions:
    async def test_a_message_arrives_octet_for_octet(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        pool = smarthosts(hop)
        for _ in range(3):
            assert ok(await pool.send(TWO, CONTENT), hop, 2)
        for message in hop.messages:
            assert (message.mail_from, message.recipients) == (TWO.mail_from, list(TWO.recipients))
            assert message.content == b"".join(CONTENT)
            assert message.parameters == f"SIZE={len(message.content)}"
        assert len(hop.sessions) == 1
        assert hop.sessions[0].commands[0] == "EHLO guard.test"

    async def test_commands_go_out_in_one_write_only_where_that_is_announced(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        pool = smarthosts(hop)
        await pool.send(TWO, CONTENT)
        [session] = hop.sessions
        before = session.writes
        await pool.send(TWO, CONTENT)
        assert session.writes - before == (2 if pipelining else 5)

    @pytest.mark.parametrize("said", ["530 5.7.0 Authentication required", "503 5.5.1 Not now", "502 5.5.1 What?"])
    @pytest.mark.parametrize("place", ["MAIL", "DATA"])
    async def test_what_is_wrong_with_our_setup_is_nobodys_loss(
        self, next_hop: StartHop, smarthosts: StartPool, counted: list[str], place: str, said: str
    ) -> None:
        hop = await next_hop()
        hop.answer(place, said)
        result = await smarthosts(hop).send(TWO, CONTENT)
        assert {(reply.code, reply.enhanced) for reply in result.replies} == {(451, "4.3.5")}
        assert result.replies[0].text.startswith("OG-SETUP ")
        assert said in result.replies[0].text
        assert (result.reached, counted.count("setup")) == (True, 1)

    async def test_replies_cut_to_pieces(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining, chunk=1)
        hop.answer("RCPT", "550 5.1.1 no\nreally no", when="two@")
        result = await smarthosts(hop).send(TWO, CONTENT)
        assert result.replies == (ACCEPTED, Reply(550, "5.1.1", "no\nreally no"))

    async def test_null_sender_and_eight_bit(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        content = "Subject: ü\r\n\r\nß\r\n".encode()
        await smarthosts(hop).send(Envelope("", ("to@y.test",), eight_bit=True), [content])
        [message] = hop.messages
        assert (message.mail_from, message.content) == ("", content)
        assert message.parameters.split() == [f"SIZE={len(content)}", "BODY=8BITMIME"]

    async def test_eight_bit_goes_as_it_is_where_nothing_is_announced(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop(extensions=())
        content = "Subject: ü\r\n\r\nß\r\n".encode()
        await smarthosts(hop).send(Envelope("", ("to@y.test",), eight_bit=True), [content])
        assert (hop.messages[0].parameters, hop.messages[0].content) == ("", content)

    async def test_smtputf8_where_it_is_not_announced(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop(extensions=())
        pool = smarthosts(hop)
        envelope = Envelope("ü@x.test", ("to@y.test",), smtputf8=True)
        result = await pool.send(envelope, CONTENT)
        assert [(reply.code, reply.enhanced) for reply in result.replies] == [(553, "5.6.7")]
        assert result.reached
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 1

    async def test_an_address_that_would_be_a_command_reaches_nobody(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        evil = "a@b>\r\nRSET\r\nMAIL FROM:<x"
        pool = smarthosts(hop)
        result = await pool.send(Envelope("from@x.test", (evil, "to@y.test")), CONTENT)
        assert [reply.code for reply in result.replies] == [501, 250]
        result = await pool.send(Envelope(evil, ("to@y.test",)), CONTENT)
        assert [reply.code for reply in result.replies] == [501]
        assert [m.recipients for m in hop.messages] == [["to@y.test"]]

    async def test_a_hop_that_knows_only_helo(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer("EHLO", "502 5.5.1 what?")
        assert ok(await smarthosts(hop).send(ONE, CONTENT), hop)
        assert hop.sessions[0].commands[1] == "HELO guard.test"
        assert hop.messages[0].parameters == ""

    async def test_a_thousand_recipients(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("RCPT", "450 4.2.1 later", when="7@", times=None)
        envelope = Envelope("from@x.test", tuple(f"user{n}@y.test" for n in range(1000)))
        result = await smarthosts(hop).send(envelope, CONTENT)
        assert [r.code for r in result.replies] == [450 if n % 10 == 7 else 250 for n in range(1000)]

    async def test_a_large_message(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        content = [b"Subject: x\r\n\r\n", b".\r\n0123456789" * 400_000]
        assert ok(await smarthosts(hop).send(ONE, content), hop)
        assert hop.messages[0].content == b"".join(content) + b"\r\n"


class TestRefusals:
    async def test_some_recipients(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("RCPT", "550 5.1.1 unknown", when="one@")
        result = await smarthosts(hop).send(TWO, CONTENT)
        assert result == Result((Reply(550, "5.1.1", "unknown"), ACCEPTED), hop.address)
        assert hop.messages[0].recipients == ["two@y.test"]
        assert "RSET" not in hop.sessions[0].commands

    async def test_all_recipients(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("RCPT", "550 5.1.1 unknown", when="one@")
        hop.answer("RCPT", "450 4.2.1 later", when="two@")
        pool = smarthosts(hop)
        result = await pool.send(TWO, CONTENT)
        assert result == Result((Reply(550, "5.1.1", "unknown"), Reply(450, "4.2.1", "later")), hop.address)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 1
        assert hop.sessions[0].commands.count("RSET") == 1

    async def test_all_recipients_but_data_is_granted(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer("RCPT", "550 5.1.1 unknown", times=2)
        hop.answer("DATA", "354 go ahead")
        hop.answer(".", "554 5.5.1 no valid recipients")
        pool = smarthosts(hop)
        result = await pool.send(TWO, CONTENT)
        assert result.replies == (Reply(550, "5.1.1", "unknown"),) * 2
        assert ok(await pool.send(ONE, CONTENT), hop)
        [session] = hop.sessions
        assert session.commands[4:7] == ["DATA", ".", "RSET"]
        assert [refused.raw for refused in hop.refused] == [b""]

    async def test_the_sender(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("MAIL", "550 5.7.1 not you")
        pool = smarthosts(hop)
        assert (await pool.send(TWO, CONTENT)).replies == (Reply(550, "5.7.1", "not you"),) * 2
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 1

    async def test_data(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("RCPT", "550 5.1.1 unknown", when="one@")
        hop.answer("DATA", "451 4.3.0 not now")
        pool = smarthosts(hop)
        result = await pool.send(TWO, CONTENT)
        assert result.replies == (Reply(550, "5.1.1", "unknown"), Reply(451, "4.3.0", "not now"))
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 1

    async def test_the_message(self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(".", "550 5.7.1 spam\nsee https://next.hop.test/")
        hop.answer("RCPT", "450 4.2.1 later", when="one@")
        pool = smarthosts(hop)
        result = await pool.send(TWO, CONTENT)
        said = Reply(550, "5.7.1", "spam\nsee https://next.hop.test/")
        assert result == Result((Reply(450, "4.2.1", "later"), said), hop.address)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert "RSET" not in hop.sessions[0].commands

    async def test_a_reply_of_10000_lines(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer(".", "550 " + "\n".join(f"line {n}" for n in range(10_000)))
        pool = smarthosts(hop)
        [reply] = (await pool.send(ONE, CONTENT)).replies
        assert (reply.code, reply.text.count("\n")) == (550, 99)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 1

    async def test_when_reset_is_refused_the_connection_is_given_up(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        hop.answer("RCPT", "550 5.1.1 unknown")
        hop.answer("RSET", "500 5.5.2 what?")
        pool = smarthosts(hop)
        assert (await pool.send(ONE, CONTENT)).replies == (Reply(550, "5.1.1", "unknown"),)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 2


BEFORE_THE_DOT = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"]


class TestBreaks:
    @pytest.mark.parametrize("place", [*BEFORE_THE_DOT, "BODY", "."])
    async def test_the_only_host_breaks_off_on_a_new_connection(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str, clock: VirtualClock
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(place, hop.CLOSE)
        pool = smarthosts(hop)
        result = await pool.send(TWO, CONTENT)
        assert all(reply.temporary for reply in result.replies)
        assert len(result.replies) == 2
        assert not result.reached
        assert result.replies[0] == (NO_NEXT_HOP if place in ("CONNECT", "EHLO") else BROKEN)
        assert not hop.messages
        assert not pool.healthy()
        # While it is left alone nobody tries; then the next message does.
        assert (await pool.send(ONE, CONTENT)) == Result((NO_NEXT_HOP,), "", False)
        assert len(hop.sessions) == 1
        clock.advance(2.0)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert pool.healthy()

    @pytest.mark.parametrize("place", BEFORE_THE_DOT)
    async def test_another_host_is_tried_as_long_as_nothing_can_have_been_accepted(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str
    ) -> None:
        bad, good = await next_hop(pipelining=pipelining), await next_hop()
        bad.answer(place, bad.CLOSE, times=None)
        pool = smarthosts(bad, good)
        for _ in range(4):
            assert ok(await pool.send(ONE, CONTENT), good)
        assert len(bad.sessions) == 1
        assert [health.healthy for health in pool.health()] == [False, True]

    @pytest.mark.parametrize("place", ["BODY", "."])
    async def test_nobody_else_is_tried_once_the_message_was_sent(
        self, next_hop: StartHop, smarthosts: StartPool, place: str, counted: list[str]
    ) -> None:
        hops = [await next_hop(), await next_hop()]
        for hop in hops:
            hop.answer(place, hop.CLOSE)
        result = await smarthosts(*hops).send(ONE, CONTENT)
        assert result.replies == (BROKEN,)
        assert not result.reached
        assert len(hops[0].sessions) + len(hops[1].sessions) == 1
        assert "unknown" in counted

    @pytest.mark.parametrize("say", [NextHop.CLOSE, "421 4.4.2 idle for too long"])
    async def test_a_stale_connection_is_replaced_once(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, counted: list[str], say: str
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        pool = smarthosts(hop)
        await pool.send(ONE, CONTENT)
        hop.answer("MAIL", say)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert counted == ["opened", "stale", "opened"]
        hop.answer("MAIL", hop.CLOSE, times=2)
        assert (await pool.send(ONE, CONTENT)).replies == (BROKEN,)
        assert len(hop.sessions) == 3

    async def test_a_connection_closed_while_idle_is_not_used(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        pool = smarthosts(hop)
        await pool.send(ONE, CONTENT)
        await hop.stop()
        await hop.start()
        assert ok(await pool.send(ONE, CONTENT), hop)

    async def test_421_while_idle_closes_it(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer(".", b"250 2.0.0 Ok\r\n421 4.4.2 and good bye\r\n")
        pool = smarthosts(hop)
        assert (await pool.send(ONE, CONTENT)).replies == (Reply(250, "2.0.0", "Ok"),)
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert len(hop.sessions) == 2
        assert pool.healthy()

    @pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA", "."])
    async def test_a_host_that_goes_away_is_left_for_another(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str
    ) -> None:
        going, good = await next_hop(pipelining=pipelining), await next_hop()
        going.answer(place, "421 4.3.2 going down", times=None)
        pool = smarthosts(going, good)
        for _ in range(3):
            assert ok(await pool.send(TWO, CONTENT), good, 2)
        assert not going.messages
        assert [health.healthy for health in pool.health()] == [False, True]

    @pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA", "."])
    async def test_421_of_the_only_host_is_passed_on_as_451(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(place, "421 4.7.0 too much from you")
        result = await smarthosts(hop).send(ONE, CONTENT)
        assert result == Result((Reply(451, "4.7.0", "too much from you"),), hop.address)

    @pytest.mark.parametrize(
        ("place", "say"),
        [
            ("MAIL", b"hello\r\n"),
            ("MAIL", b"250 a\r\n250 b\r\n"),
            ("MAIL", b"354 go\r\n"),
            ("RCPT", b"\x16\x03\x01\r\n"),
            ("RCPT", b"250-a\r\n550 b\r\n"),
            ("DATA", b"250 what\r\n"),
            ("DATA", b"354 go\r\n250 accepted\r\n"),
            (".", b"354 more\r\n"),
            (".", b"\r\n"),
            (".", b"250" + b"x" * 70_000),
        ],
    )
    async def test_nonsense_is_a_break(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str, say: bytes
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(place, say)
        result = await smarthosts(hop).send(ONE, CONTENT)
        assert result == Result((BROKEN,), hop.address, False)
        await hop.quiet()

    async def test_an_acceptance_before_the_end_was_sent_is_none(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        hop.answer("BODY", b"250 2.0.0 Ok: too early\r\n")
        hop.answer(".", hop.CLOSE)
        content = [b"x" * 998 + b"\r\n"] * 50_000
        result = await smarthosts(hop).send(ONE, content)
        assert result == Result((BROKEN,), hop.address, False)

    @pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA", "BODY", "."])
    async def test_a_host_that_says_nothing(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool, place: str
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(place, hop.HANG)
        result = await smarthosts(hop, reply_seconds=0.2).send(ONE, CONTENT)
        assert result == Result((BROKEN,), hop.address, False)
        await hop.quiet()

    async def test_a_host_that_never_greets(
        self, next_hop: StartHop, smarthosts: StartPool, counted: list[str]
    ) -> None:
        hop = await next_hop()
        hop.answer("CONNECT", hop.HANG)
        result = await smarthosts(hop, connect_seconds=0.2).send(ONE, CONTENT)
        assert result == Result((NO_NEXT_HOP,), "", False)
        assert counted == ["timeout"]

    @pytest.mark.parametrize(
        ("place", "say"),
        [
            ("CONNECT", "554 5.3.2 not in service"),
            ("CONNECT", "421 4.3.2 full"),
            ("EHLO", "421 4.3.2 full"),
            ("CONNECT", "hello"),
        ],
    )
    async def test_a_host_that_refuses_the_session(
        self, next_hop: StartHop, smarthosts: StartPool, place: str, say: str, counted: list[str]
    ) -> None:
        bad, good = await next_hop(), await next_hop()
        bad.answer(place, say.encode() + b"\r\n", times=None)
        pool = smarthosts(bad, good)
        for _ in range(3):
            assert ok(await pool.send(ONE, CONTENT), good)
        assert counted.count("greeting") == 1

    async def test_all_hosts_are_down(self, smarthosts: StartPool, counted: list[str]) -> None:
        pool = smarthosts(await refusing_address(), await refusing_address())
        assert await pool.send(TWO, CONTENT) == Result((NO_NEXT_HOP,) * 2, "", False)
        assert counted == ["connect", "connect"]
        assert not pool.healthy()

    async def test_a_cancelled_sender_leaves_nothing_behind(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer("RCPT", hop.HANG)
        pool = smarthosts(hop)
        sender = asyncio.create_task(pool.send(ONE, CONTENT))
        await hop.saw("RCPT")
        sender.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sender
        await hop.quiet()
        assert pool.health()[0].busy == 0
        assert ok(await pool.send(ONE, CONTENT), hop)


class TestPool:
    async def test_hosts_take_turns(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hops = [await next_hop() for _ in range(3)]
        pool = smarthosts(*hops)
        for _ in range(9):
            await pool.send(ONE, CONTENT)
        assert [len(hop.messages) for hop in hops] == [3, 3, 3]
        assert [len(hop.sessions) for hop in hops] == [1, 1, 1]

    async def test_no_more_connections_than_allowed_and_the_others_wait(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, connections=3)
        results = await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(50)))
        assert all(ok(result, hop) for result in results)
        assert len(hop.sessions) == 3

    async def test_waiting_has_an_end(self, next_hop: StartHop, smarthosts: StartPool, counted: list[str]) -> None:
        hop = await next_hop()
        hop.answer("RCPT", hop.HANG)
        pool = smarthosts(hop, connections=1, wait_seconds=0.05)
        first = asyncio.create_task(pool.send(ONE, CONTENT))
        await hop.saw("RCPT")
        assert await pool.send(ONE, CONTENT) == Result((BUSY,), "", False)
        assert counted == ["opened", "busy"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    async def test_those_who_wait_go_on_when_a_connection_breaks(
        self, next_hop: StartHop, smarthosts: StartPool, clock: VirtualClock
    ) -> None:
        hop = await next_hop()
        hop.answer(".", hop.CLOSE)
        pool = smarthosts(hop, connections=1)
        results = await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(5)))
        # The host is left alone for a while after a break, and nobody waits for that.
        assert [result.replies[0] for result in results] == [BROKEN, *[NO_NEXT_HOP] * 4]

    async def test_a_cancelled_waiter_does_not_keep_a_connection(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, connections=1)
        senders = [asyncio.create_task(pool.send(ONE, CONTENT)) for _ in range(10)]
        await hop.received(1)
        for sender in senders[1::2]:
            sender.cancel()
        results = await asyncio.gather(*senders, return_exceptions=True)
        assert all(ok(result, hop) for result in results if isinstance(result, Result))
        assert ok(await pool.send(ONE, CONTENT), hop)

    async def test_a_host_that_limits_our_connections_is_used_through_those_it_allows(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, connections=10)
        await pool.send(ONE, CONTENT)
        hop.answer("CONNECT", "421 4.7.0 too many connections", times=None)
        results = await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(20)))
        assert all(ok(result, hop) for result in results)
        assert pool.healthy()

    async def test_idle_connections_are_left_politely(
        self, next_hop: StartHop, smarthosts: StartPool, clock: VirtualClock
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, reply_seconds=0.4)  # The sweep comes four times in this time.
        await pool.send(ONE, CONTENT)
        clock.advance(IDLE_SECONDS)
        await hop.saw("QUIT")
        await hop.quiet()
        assert pool.health()[0].idle == 0

    async def test_a_connection_is_renewed_after_many_messages(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        pool = smarthosts(hop)
        for _ in range(MESSAGES + 1):
            assert (await pool.send(ONE, [b"x\r\n"])).replies == (ACCEPTED,)
        assert [session.commands.count(".") for session in hop.sessions] == [MESSAGES, 1]
        assert hop.sessions[0].commands[-1] == "QUIT"

    async def test_close_takes_leave_and_ends_what_is_under_way(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop)
        await pool.send(ONE, CONTENT)
        hop.answer("RCPT", hop.HANG)
        under_way = asyncio.create_task(pool.send(ONE, CONTENT))
        await hop.saw("RCPT", 2)
        hop.answer("CONNECT", "220 second")
        assert ok(await pool.send(ONE, CONTENT), hop)
        await pool.close()
        [reply] = (await under_way).replies
        assert reply.temporary
        await hop.quiet()
        assert [session.commands[-1] for session in hop.sessions] == ["RCPT TO:<to@y.test>", "QUIT"]
        assert (await pool.send(ONE, CONTENT)).replies[0].temporary

    async def test_source_addresses_take_turns(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, source_addresses=("127.0.0.3", "127.0.0.4", "::1"))
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(6)))
        assert {session.source[0] for session in hop.sessions} == {"127.0.0.3", "127.0.0.4"}

    async def test_ipv6(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop(host="::1")
        assert ok(await smarthosts(hop).send(ONE, CONTENT), hop)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / "password").write_text("sésame, ouvre-toi\nmore\n", encoding="utf-8")
    return str(tmp_path / "password")


class TestTls:
    @pytest.mark.parametrize("tls", ["opportunistic", "required"])
    async def test_starttls(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext, ca_file: str, tls: str
    ) -> None:
        hop = await next_hop(tls=certificate)
        pool = smarthosts(hop, tls=tls, ca_file=ca_file)
        large = [b"Subject: x\r\n\r\n", b"0123456789\r\n" * 100_000]
        assert ok(await pool.send(ONE, CONTENT), hop)
        assert ok(await pool.send(ONE, large), hop)
        assert [message.session.tls for message in hop.messages] == [True, True]
        assert hop.messages[1].content == b"".join(large)
        assert hop.sessions[0].commands[:3] == ["EHLO guard.test", "STARTTLS", "EHLO guard.test"]

    async def test_none_means_none(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext
    ) -> None:
        hop = await next_hop(tls=certificate)
        assert ok(await smarthosts(hop, tls="none").send(ONE, CONTENT), hop)
        assert not hop.messages[0].session.tls

    async def test_opportunistic_does_not_ask_who_signed(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext
    ) -> None:
        hop = await next_hop(tls=certificate)
        assert ok(await smarthosts(hop).send(ONE, CONTENT), hop)
        assert hop.messages[0].session.tls

    @pytest.mark.parametrize("fault", ["not offered", "refused", "broken", "handshake"])
    async def test_opportunistic_goes_in_clear_where_tls_fails(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext, fault: str
    ) -> None:
        # A server without a certificate has no cipher to agree on.
        contexts = {"not offered": None, "handshake": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)}
        hop = await next_hop(tls=contexts.get(fault, certificate))
        if fault == "refused":
            hop.answer("STARTTLS", "454 4.7.0 not now", times=None)
        if fault == "broken":
            hop.answer("STARTTLS", hop.CLOSE, times=None)
        assert ok(await smarthosts(hop).send(ONE, CONTENT), hop)
        assert not hop.messages[0].session.tls

    @pytest.mark.parametrize("fault", ["not offered", "refused", "unknown authority", "other name"])
    async def test_required_goes_nowhere_where_tls_fails(
        self,
        next_hop: StartHop,
        smarthosts: StartPool,
        authority: trustme.CA,
        certificate: ssl.SSLContext,
        ca_file: str,
        fault: str,
        counted: list[str],
    ) -> None:
        if fault == "other name":
            certificate = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("other.test").configure_cert(certificate)
        hop = await next_hop(tls=None if fault == "not offered" else certificate)
        if fault == "refused":
            hop.answer("STARTTLS", "454 4.7.0 not now", times=None)
        pool = smarthosts(hop, tls="required", ca_file="" if fault == "unknown authority" else ca_file)
        assert await pool.send(ONE, CONTENT) == Result((NO_NEXT_HOP,), "", False)
        assert counted == ["tls"]

    async def test_a_break_under_tls(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext
    ) -> None:
        hop = await next_hop(tls=certificate)
        hop.answer(".", hop.CLOSE)
        assert await smarthosts(hop).send(ONE, CONTENT) == Result((BROKEN,), hop.address, False)


class TestAuth:
    async def test_login(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext, password_file: str
    ) -> None:
        hop = await next_hop(tls=certificate, logins={"guard": "sésame, ouvre-toi"})
        assert ok(await smarthosts(hop, user="guard", password_file=password_file).send(ONE, CONTENT), hop)
        assert hop.messages[0].session.login == "guard"
        assert hop.messages[0].session.tls

    @pytest.mark.parametrize("logins", [{"guard": "other"}, None])
    async def test_a_login_that_fails_is_our_trouble_not_the_senders(
        self,
        next_hop: StartHop,
        smarthosts: StartPool,
        password_file: str,
        logins: dict[str, str] | None,
        counted: list[str],
    ) -> None:
        hop = await next_hop(logins=logins)
        pool = smarthosts(hop, user="guard", password_file=password_file)
        assert await pool.send(ONE, CONTENT) == Result((NO_NEXT_HOP,), "", False)
        assert counted == ["auth"]

    async def test_a_password_is_not_sent_in_clear_where_tls_was_offered(
        self, next_hop: StartHop, smarthosts: StartPool, certificate: ssl.SSLContext, password_file: str
    ) -> None:
        hop = await next_hop(tls=certificate, logins={"guard": "sésame, ouvre-toi"})
        hop.answer("STARTTLS", "454 4.7.0 not now", times=None)
        pool = smarthosts(hop, user="guard", password_file=password_file)
        assert await pool.send(ONE, CONTENT) == Result((NO_NEXT_HOP,), "", False)
        assert not any(command.startswith("AUTH") for session in hop.sessions for command in session.commands)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"smarthosts": ()}, "no smarthost"),
        ({"smarthosts": ("next.hop.test",)}, "HOST:PORT"),
        ({"user": "u"}, "no password_file"),
        ({"user": "u", "password_file": "/nonexistent/password"}, "cannot be read"),
        ({"ca_file": "/nonexistent/ca.pem"}, "ca_file"),
        ({"source_addresses": ("somewhere",)}, "somewhere"),
        ({"source_addresses": ("::1",)}, "source_addresses"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(settings: dict[str, Any], said: str) -> None:
    pool = Pool(**{"smarthosts": ("127.0.0.1:25",), **settings})
    with pytest.raises(ConfigError, match=said):
        Smarthosts(pool, hostname="guard.test", clock=VirtualClock(), count=lambda *_: None)


@pytest.mark.parametrize("hostname", ["", "a b", "a\r\nb", "ü.test"])
def test_a_name_that_cannot_be_said_is_refused(hostname: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.hostname"):
        Smarthosts(Pool(smarthosts=("127.0.0.1:25",)), hostname=hostname, clock=VirtualClock(), count=lambda *_: None)
