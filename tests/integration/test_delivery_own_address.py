"""Next hops that refuse our own address: another address, host or pool is tried, and nobody gets a message twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.delivery.attempt import MOST_REFUSALS
from outbound_guard.delivery.carrying import BROKEN
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.delivery.pool import REFUSED_SECONDS
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.smarthost import Smarthosts
from outbound_guard.mail import Envelope
from outbound_guard.reply import Reply
from tests.nexthop import NextHop

EVENT_LOOPS = ("asyncio", "uvloop")

StartHop = Callable[..., Awaitable[NextHop]]
StartPool = Callable[..., Smarthosts]

LISTED = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"
LISTED_421 = "421 4.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"
ACCEPTED = Reply(250, "2.0.0", "Ok: queued as TEST")
CONTENT = [b"Subject: hello\r\n\r\nA line.\r\n"]
ONE = Envelope("from@x.test", ("to@y.test",))
TWO = Envelope("from@x.test", ("one@y.test", "two@y.test"))
SOURCES = {"source_addresses": ("127.0.0.1", "127.0.0.2")}
"""They take turns, and the second comes first."""


def refused(result: Result, *places: int) -> None:
    """These recipients, and no others, are left because of our address; what they are told is temporary."""
    assert result.listed == places
    assert result.reached
    for place in places:
        reply = result.replies[place]
        assert (reply.code, reply.enhanced) == (451, "4.7.1")
        assert reply.text.startswith("OG-LISTED ")
        assert "Client host [127.0.0.1] blocked" in reply.text
        assert outcome_of(reply) == "our_address"


def got(hop: NextHop) -> list[str]:
    """Whom a next hop has accepted mail for."""
    return [recipient for message in hop.messages for recipient in message.recipients]


def sources(hop: NextHop) -> list[str]:
    return [str(session.source[0]) for session in hop.sessions]


class TestAnotherAddress:
    @pytest.mark.parametrize("place", ["CONNECT", "MAIL", "RCPT", "DATA", "."])
    @pytest.mark.parametrize("said", [LISTED, LISTED_421], ids=["554", "421"])
    async def test_it_is_tried_at_the_same_host(
        self,
        next_hop: StartHop,
        smarthosts: StartPool,
        counted: list[str],
        pipelining: bool,
        place: str,
        said: str,
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer(place, said, times=None, source="127.0.0.1")
        pool = smarthosts(hop, **SOURCES)
        results = [await pool.send(TWO, CONTENT) for _ in range(3)]
        assert all(result.replies == (ACCEPTED, ACCEPTED) and not result.listed for result in results)
        assert {result.source_of(1) for result in results} == {"127.0.0.2"}
        assert got(hop) == [*TWO.recipients] * 3
        assert {message.session.source[0] for message in hop.messages} == {"127.0.0.2"}
        assert counted.count("our_address") == sources(hop).count("127.0.0.1") == 1
        assert pool.healthy()
        assert pool.health()[0].failures == 0

    async def test_after_a_refused_ehlo(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        for verb in ("EHLO", "HELO"):
            hop.answer(verb, LISTED, times=None, source="127.0.0.1")
        pool = smarthosts(hop, **SOURCES)
        for _ in range(2):
            assert (await pool.send(ONE, CONTENT)).replies == (ACCEPTED,)
        assert sources(hop) == ["127.0.0.1", "127.0.0.2"]

    async def test_only_for_the_recipient_that_was_refused_so(
        self, next_hop: StartHop, smarthosts: StartPool, pipelining: bool
    ) -> None:
        hop = await next_hop(pipelining=pipelining)
        hop.answer("RCPT", LISTED, when="two@", times=None, source="127.0.0.1")
        hop.answer("RCPT", "550 5.1.1 unknown user", when="three@", times=None)
        pool = smarthosts(hop, **SOURCES)
        envelope = Envelope("from@x.test", ("one@y.test", "two@y.test", "three@y.test", "four@y.test"))
        first = await pool.send(envelope, CONTENT)
        assert [reply.code for reply in first.replies] == [250, 250, 550, 250]
        assert [first.source_of(place) for place in range(4)] == ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.1"]
        assert [message.recipients for message in hop.messages] == [["one@y.test", "four@y.test"], ["two@y.test"]]
        assert sources(hop) == ["127.0.0.1", "127.0.0.2"]
        assert sum("three@" in command for session in hop.sessions for command in session.commands) == 1

    async def test_the_refused_one_is_left_out_for_a_quarter_of_an_hour(
        self, next_hop: StartHop, smarthosts: StartPool, clock: VirtualClock
    ) -> None:
        hop = await next_hop()
        hop.answer("MAIL", LISTED, source="127.0.0.1")
        pool = smarthosts(hop, **SOURCES)
        for _ in range(4):
            await pool.send(ONE, CONTENT)
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(6)))
        assert sources(hop).count("127.0.0.1") == 1
        clock.advance(REFUSED_SECONDS - 1)
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(12)))
        assert sources(hop).count("127.0.0.1") == 1
        clock.advance(1)
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(24)))
        assert sources(hop).count("127.0.0.1") > 1
        assert len(hop.messages) == 4 + 6 + 12 + 24

    async def test_idle_connections_from_it_are_closed(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, **SOURCES)
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(8)))
        before = [session for session in hop.sessions if session.source[0] == "127.0.0.1"]
        assert len(before) == 4
        hop.answer("MAIL", LISTED, times=None, source="127.0.0.1")
        await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(8)))
        for number in range(8):
            result = await pool.send(ONE, CONTENT)
            assert result.replies == (ACCEPTED,), number
        assert len(hop.messages) == 8 + 8 + 8
        assert {message.session.source[0] for message in hop.messages[8:]} == {"127.0.0.2"}
        await hop.saw("QUIT", 4)
        assert all("QUIT" in session.commands for session in before)

    async def test_with_room_for_one_connection_only(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer("MAIL", LISTED, times=None, source="127.0.0.1")
        pool = smarthosts(hop, connections=1, **SOURCES)
        results = await asyncio.gather(*(pool.send(ONE, CONTENT) for _ in range(5)))
        assert [result.replies for result in results] == [(ACCEPTED,)] * 5
        assert len(hop.messages) == 5

    async def test_the_only_one_stays_in_use(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer(".", LISTED)
        pool = smarthosts(hop, source_addresses=("127.0.0.2",))
        refused(await pool.send(TWO, CONTENT), 0, 1)
        assert (await pool.send(TWO, CONTENT)).replies == (ACCEPTED, ACCEPTED)
        assert sources(hop) == ["127.0.0.2"], "the connection is as good as before"

    async def test_if_all_are_refused_one_is_tried_at_a_time(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop = await next_hop()
        hop.answer("MAIL", LISTED, times=None)
        pool = smarthosts(hop, source_addresses=("127.0.0.1", "127.0.0.2", "127.0.0.3"))
        tries = []
        for _ in range(4):
            before = sum(command.startswith("MAIL") for session in hop.sessions for command in session.commands)
            refused(await pool.send(ONE, CONTENT), 0)
            after = sum(command.startswith("MAIL") for session in hop.sessions for command in session.commands)
            tries.append(after - before)
        assert tries == [3, 1, 1, 1]

    async def test_a_host_that_has_just_come_back_is_not_given_up_for_it(
        self, next_hop: StartHop, smarthosts: StartPool, clock: VirtualClock
    ) -> None:
        hop = await next_hop()
        pool = smarthosts(hop, **SOURCES)
        await hop.stop()
        assert not (await pool.send(ONE, CONTENT)).reached
        await hop.start()
        hop.answer("MAIL", LISTED_421)
        clock.advance(60)
        assert (await pool.send(ONE, CONTENT)).replies == (ACCEPTED,)
        assert sorted(sources(hop)) == ["127.0.0.1", "127.0.0.2"]

    async def test_one_log_line_a_minute(
        self, next_hop: StartHop, smarthosts: StartPool, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        hop = await next_hop()
        hop.answer("MAIL", LISTED, times=None)
        pool = smarthosts(hop, **SOURCES)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                await pool.send(ONE, CONTENT)
            clock.advance(60)
            await pool.send(ONE, CONTENT)
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 2
        assert all(hop.address in line and "refuses our address 127.0.0." in line for line in lines)
        assert "blocked using zen.example" in lines[0]


class TestAnotherHost:
    @pytest.mark.parametrize("place", ["CONNECT", "MAIL", "RCPT", "DATA", "."])
    @pytest.mark.parametrize("said", [LISTED, LISTED_421], ids=["554", "421"])
    async def test_it_is_tried(
        self, next_hop: StartHop, smarthosts: StartPool, place: str, said: str, pipelining: bool
    ) -> None:
        refusing, willing = await next_hop(pipelining=pipelining), await next_hop(pipelining=pipelining)
        refusing.answer(place, said, times=None)
        pool = smarthosts(refusing, willing)
        for _ in range(4):
            result = await pool.send(TWO, CONTENT)
            assert (result.replies, result.peer, result.listed) == ((ACCEPTED, ACCEPTED), willing.address, ())
        assert got(willing) == [*TWO.recipients] * 4
        assert len(refusing.sessions) >= 1

    async def test_each_recipient_keeps_the_answer_it_has(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        third, first, second = [await next_hop() for _ in range(3)]
        first.answer("RCPT", LISTED, when="two@")
        second.answer("RCPT", "550 5.1.1 unknown user", when="two@")
        result = await smarthosts(third, first, second).send(TWO, CONTENT)  # The second is asked first.
        assert result.replies == (ACCEPTED, Reply(550, "5.1.1", "unknown user"))
        assert result.peers == (first.address, second.address)
        assert got(first) == ["one@y.test"]
        assert not any("one@" in command for session in second.sessions for command in session.commands)
        assert third.sessions == []

    async def test_if_all_refuse_it_is_temporary(
        self, next_hop: StartHop, smarthosts: StartPool, counted: list[str]
    ) -> None:
        hops = [await next_hop(), await next_hop()]
        for hop in hops:
            hop.answer("RCPT", LISTED, when="two@", times=None)
        result = await smarthosts(*hops).send(TWO, CONTENT)
        refused(result, 1)
        assert result.replies[0] == ACCEPTED
        assert counted.count("our_address") == 2
        assert [got(hop) for hop in hops].count(["one@y.test"]) == 1
        assert [got(hop) for hop in hops].count([]) == 1

    async def test_if_the_other_is_down_it_is_temporary_too(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hop, gone = await next_hop(), await next_hop()
        hop.answer("MAIL", LISTED, times=None)
        await gone.stop()
        refused(await smarthosts(hop, gone).send(TWO, CONTENT), 0, 1)

    async def test_nobody_is_offered_it_again_who_may_have_it(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        third, first, second = [await next_hop() for _ in range(3)]
        first.answer("RCPT", LISTED, when="two@")
        second.answer(".", NextHop.CLOSE)
        result = await smarthosts(third, first, second).send(TWO, CONTENT)  # The second is asked first.
        assert result == Result(
            (ACCEPTED, BROKEN), second.address, True, (first.address, second.address), sources=("", "")
        )
        assert third.sessions == []

    async def test_what_another_hop_cannot_carry_is_not_refused_for_good(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        able, unable = await next_hop(), await next_hop(extensions=())
        able.answer("MAIL", LISTED, times=None)
        envelope = Envelope("from@x.test", ("ü@y.test", "to@y.test"), smtputf8=True)
        pool = smarthosts(unable, able)  # The second is asked first.
        result = await pool.send(envelope, CONTENT)
        refused(result, 0)
        assert result.replies[1] == ACCEPTED
        assert got(unable) == ["to@y.test"]

    @pytest.mark.parametrize("before", [0, MOST_REFUSALS + 2], ids=["new connections", "idle connections"])
    @pytest.mark.parametrize("said", [LISTED, LISTED_421], ids=["554", "421"])
    async def test_the_number_of_tries_has_a_bound(
        self, next_hop: StartHop, smarthosts: StartPool, before: int, said: str
    ) -> None:
        hops = [await next_hop() for _ in range(MOST_REFUSALS + 2)]
        pool = smarthosts(*hops)
        for _ in range(before):
            await pool.send(ONE, CONTENT)
        for hop in hops:
            hop.answer("MAIL", said, times=None)
        refused(await pool.send(ONE, CONTENT), 0)
        begun = [c for hop in hops for session in hop.sessions for c in session.commands if c.startswith("MAIL")]
        assert len(begun) == before + MOST_REFUSALS

    async def test_who_waits_is_not_given_a_connection_to_a_host_that_has_refused(
        self, next_hop: StartHop, smarthosts: StartPool
    ) -> None:
        refusing, slow = await next_hop(), await next_hop()
        refusing.answer("RCPT", LISTED, when="refused@", times=None)
        # So "refused" and "third" wait when the refusing host has its connection free again, and then the other one.
        refusing.answer(".", "250 2.0.0 Ok: queued as TEST", delay=0.1)
        slow.answer(".", "250 2.0.0 Ok: queued as TEST", delay=0.3)
        pool = smarthosts(slow, refusing, connections=1)  # The second is asked first.
        sends = [Envelope("from@x.test", (f"{name}@y.test",)) for name in ("refused", "second", "third")]
        results = await asyncio.gather(*(pool.send(envelope, CONTENT) for envelope in sends))
        assert [result.replies for result in results] == [(ACCEPTED,)] * 3
        assert (got(refusing), got(slow)) == (["third@y.test"], ["second@y.test", "refused@y.test"])
        assert sum("refused@" in command for session in refusing.sessions for command in session.commands) == 1

    async def test_ordinary_refusals_are_passed_on(self, next_hop: StartHop, smarthosts: StartPool) -> None:
        hops = [await next_hop(), await next_hop()]
        for hop in hops:
            hop.answer(".", "554 5.7.1 rejected as spam", times=None)
            hop.answer("MAIL", "550 5.7.1 contains an URL listed by surbl", when="url@", times=None)
        pool = smarthosts(*hops)
        result = await pool.send(TWO, CONTENT)
        assert result.replies == (Reply(554, "5.7.1", "rejected as spam"),) * 2
        assert (result.peers, result.listed) == ((), ())
        assert (await pool.send(Envelope("url@x.test", ONE.recipients), CONTENT)).replies[0].code == 550
        assert sum(len(hop.sessions) for hop in hops) == 2
