"""Direct delivery: to the servers that the DNS names, as the outside sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import VirtualClock
from outbound_guard.delivery import Result
from outbound_guard.delivery.answers import meaning_of
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.delivery.destination import Destination
from outbound_guard.delivery.wire import Mail
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import OUR_FAULT
from tests.nexthop import NextHop
from tests.world import StartHop, World

CONTENT = [b"From: a@x.test\r\nSubject: hello\r\n\r\n.A line.\r\n"]
EVENT_LOOPS = ("asyncio", "uvloop")


@pytest.fixture
async def world(next_hop: StartHop, tmp_path: Path) -> AsyncIterator[World]:
    async with World(next_hop, tmp_path) as one:
        yield one


def to(*recipients: str, **more: bool) -> Envelope:
    return Envelope("a@x.test", recipients, **more)


def codes(result: Result) -> list[tuple[int, str]]:
    return [(reply.code, reply.enhanced) for reply in result.replies]


def words(result: Result) -> list[str]:
    return [reply.text.partition(" ")[0] for reply in result.replies]


class TestWhereItGoes:
    async def test_to_the_best_server(self, world: World) -> None:
        best, worse = await world.server("mx1.there.test"), await world.server("mx2.there.test")
        world.domain("there.test", (20, "mx2.there.test"), (10, "mx1.there.test"))
        result = await world.delivery().send(to("b@THERE.test"), CONTENT)
        assert [reply.code for reply in result.replies] == [250]
        assert result.peer == f"mx1.there.test:{world.port}"
        assert result.keep
        assert [message.content for message in await best.received(1)] == [b"".join(CONTENT)]
        assert worse.sessions == []

    async def test_equals_share_the_work(self, world: World) -> None:
        hops = [await world.server(f"mx{number}.there.test") for number in (1, 2)]
        world.domain("there.test", (10, "mx1.there.test"), (10, "mx2.there.test"))
        delivery = world.delivery()
        for _ in range(4):
            await delivery.send(to("b@there.test"), CONTENT)
        assert [len(hop.messages) for hop in hops] == [2, 2]
        assert [len(hop.sessions) for hop in hops] == [1, 1]  # The second message goes over what is open.

    async def test_one_dead_server_of_two(self, world: World) -> None:
        alive = await world.server("mx2.there.test")
        world.dns.names["mx1.there.test"] = ["127.0.7.250"]  # Nobody is there.
        world.domain("there.test", (10, "mx1.there.test"), (20, "mx2.there.test"))
        result = await world.delivery().send(to("b@there.test"), CONTENT)
        assert (codes(result), result.peer) == ([(250, "2.0.0")], f"mx2.there.test:{world.port}")
        assert len(alive.messages) == 1

    @pytest.mark.parametrize("place", ["CONNECT", "EHLO", "MAIL"])
    async def test_a_server_that_sends_us_away(self, world: World, place: str) -> None:
        first, second = await world.server("mx1.there.test"), await world.server("mx2.there.test")
        first.answer(place, "421 4.3.2 not now", times=None)
        world.domain("there.test", (10, "mx1.there.test"), (20, "mx2.there.test"))
        result = await world.delivery().send(to("b@there.test"), CONTENT)
        assert codes(result) == [(250, "2.0.0")]
        assert (len(first.messages), len(second.messages)) == (0, 1)

    async def test_who_sends_us_away_in_no_unicode_is_understood(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        lines = b"554-5.7.1 gesch\xfctzt:\x1b[2J\rx\r\n554 5.7.1 blocked using zen.spamhaus.org\r\n"
        hop.answer("CONNECT", lines, times=None)
        world.domain("there.test", (10, "mx.there.test"))
        [reply] = (await world.delivery().send(to("b@there.test"), CONTENT)).replies
        assert (reply.code, reply.text.partition(" ")[0]) == (451, "OG-LISTED")
        assert "gesch\ufffdtzt: [2J x\nblocked using zen.spamhaus.org" in reply.text

    async def test_a_fault_of_ours_at_one_is_no_concern_of_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hop = await world.server("mx.there.test")
        await world.server("mx.elsewhere.test")
        world.domain("there.test", (10, "mx.there.test"))
        world.domain("elsewhere.test", (10, "mx.elsewhere.test"))
        real = Destination.send

        async def send(self: Destination, mail: Mail, until: float) -> object:
            if self.hops.hosts[0].name.startswith("mx.elsewhere.test"):
                raise RuntimeError("a fault of ours")
            return await real(self, mail, until)

        monkeypatch.setattr(Destination, "send", send)
        result = await world.delivery().send(to("a@there.test", "b@elsewhere.test"), CONTENT)
        assert [reply.code for reply in result.replies] == [250, 451]
        assert result.replies[1] == OUR_FAULT
        assert len(hop.messages) == 1

    async def test_all_are_away(self, world: World) -> None:
        world.dns.names["mx1.there.test"] = ["127.0.7.250"]
        world.domain("there.test", (10, "mx1.there.test"))
        result = await world.delivery(port=9).send(to("b@there.test"), CONTENT)
        assert (codes(result), words(result), result.reached) == ([(451, "4.4.1")], ["OG-NEXTHOP"], False)
        assert "mx1.there.test:9: ConnectionRefusedError" in result.replies[0].text

    async def test_without_mx_to_the_domain_itself(self, world: World) -> None:
        hop = await world.server("there.test")
        result = await world.delivery().send(to("b@there.test"), CONTENT)
        assert (codes(result), len(hop.messages)) == ([(250, "2.0.0")], 1)

    async def test_by_ipv6(self, next_hop: StartHop, world: World) -> None:
        try:
            hop = await next_hop(host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        world.port = hop.port
        world.dns.records["mx.there.test", "AAAA"] = ["::1"]
        world.domain("there.test", (10, "mx.there.test"))
        only = config.Pool(source_addresses=("127.0.0.1",))
        result = await world.delivery(only, private_networks=("::1",)).send(to("b@there.test"), CONTENT)
        assert (words(result), hop.sessions) == (["OG-NEXTHOP"], [])  # We have no address of that kind.
        result = await world.delivery(private_networks=("::1",)).send(to("b@there.test"), CONTENT)
        assert (codes(result), hop.sessions[0].source[0]) == ([(250, "2.0.0")], "::1")

    async def test_to_an_address_in_brackets(self, world: World) -> None:
        hop = await world.server()
        delivery = world.delivery()
        result = await delivery.send(to(f"b@[{hop.host}]"), CONTENT)
        assert (codes(result), hop.messages[0].recipients) == ([(250, "2.0.0")], [f"b@[{hop.host}]"])
        result = await delivery.send(to("b@[10.0.0.1]"), CONTENT)
        assert (codes(result), words(result)) == ([(550, "5.1.2")], ["OG-ADDRESS"])

    async def test_a_domain_that_is_not_ascii(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        world.domain("xn--bcher-kva.test", (10, "mx.there.test"))
        result = await world.delivery().send(to("b@bücher.test"), CONTENT)
        assert (codes(result), hop.messages[0].recipients) == ([(250, "2.0.0")], ["b@bücher.test"])

    async def test_from_the_addresses_of_the_pool(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        world.domain("there.test", (10, "mx.there.test"))
        delivery = world.delivery(config.Pool(source_addresses=("127.0.8.1",)))
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert (hop.sessions[0].source[0], result.source) == ("127.0.8.1", "127.0.8.1")

    async def test_pools_with_smarthosts_use_them(self, world: World, next_hop: StartHop) -> None:
        relay = await next_hop()
        result = await world.delivery(config.Pool(smarthosts=(relay.address,))).send(to("b@there.test"), CONTENT)
        assert (codes(result), len(relay.messages), world.dns.asked) == ([(250, "2.0.0")], 1, [])


class TestWhereItDoesNotGo:
    async def refused(self, world: World, code: tuple[int, str], word: str, **delivery: object) -> Result:
        """What a domain that takes no mail comes to: told at once, and in a way that is understood."""
        result = await world.delivery(**delivery).send(to("b@there.test"), CONTENT)
        assert (codes(result), words(result), result.reached) == ([code], [word], True)
        assert meaning_of(result.replies[0]).coarse == "dns"
        return result

    async def test_the_domain_does_not_exist(self, world: World) -> None:
        result = await self.refused(world, (550, "5.1.2"), "OG-NODOMAIN")
        assert outcome_of(result.replies[0]) == "unknown_user"

    async def test_null_mx(self, world: World) -> None:
        world.dns.records["there.test", "MX"] = ["0 ."]
        world.dns.names["there.test"] = ["127.0.7.1"]
        await self.refused(world, (556, "5.1.10"), "OG-NULLMX")

    async def test_no_address_anywhere(self, world: World) -> None:
        world.domain("there.test", (10, "mx.there.test"))
        await self.refused(world, (550, "5.1.2"), "OG-NOROUTE")

    async def test_an_mx_that_can_be_no_name_is_no_null_mx(self, world: World) -> None:
        world.dns.records["there.test", "MX"] = [r"0 mail\032server.there.test."]
        world.dns.names["there.test"] = ["127.0.7.1"]
        await self.refused(world, (550, "5.1.2"), "OG-NOROUTE")

    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "192.168.1.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "100.64.0.1",
        ],
    )
    async def test_an_address_that_is_not_of_the_internet(self, world: World, address: str) -> None:
        world.dns.names["mx.there.test"] = [address]
        world.domain("there.test", (10, "mx.there.test"))
        await self.refused(world, (550, "5.4.4"), "OG-NOROUTE", private_networks=())

    @pytest.mark.parametrize(
        "address",
        [
            *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "2002:7f00:1::", "::7f00:1"),
            *("64:ff9b::a00:1", "64:ff9b::7f00:1"),
        ],
    )
    async def test_nor_of_ipv6(self, world: World, address: str) -> None:
        world.dns.records["mx.there.test", "AAAA"] = [address]
        world.domain("there.test", (10, "mx.there.test"))
        await self.refused(world, (550, "5.4.4"), "OG-NOROUTE", private_networks=())

    @pytest.mark.parametrize("listens", ["127.0.7.1", "0.0.0.0"])
    async def test_back_to_ourselves(self, world: World, listens: str) -> None:
        ours = await world.server("mx2.there.test")
        assert ours.host == "127.0.7.1"
        world.domain("there.test", (20, "mx2.there.test"), (30, "mx3.there.test"))
        world.dns.names["mx3.there.test"] = ["127.0.7.250"]
        listeners = (config.Listener(address=f"{listens}:{world.port}"),)
        await self.refused(world, (554, "5.4.6"), "OG-LOOP", listeners=listeners)
        # What is better than ourselves takes it (RFC 5321 5.1).
        better = await world.server("mx1.there.test")
        listeners = (config.Listener(address=f"127.0.7.1:{world.port}"),)
        world.domain("there.test", (10, "mx1.there.test"), (20, "mx2.there.test"), (30, "mx3.there.test"))
        result = await world.delivery(listeners=listeners).send(to("b@there.test"), CONTENT)
        assert (codes(result), len(better.messages), ours.sessions) == ([(250, "2.0.0")], 1, [])

    async def test_a_server_with_our_name(self, world: World) -> None:
        await world.server("guard.test")
        world.domain("there.test", (10, "guard.test"))
        await self.refused(world, (554, "5.4.6"), "OG-LOOP")

    @pytest.mark.parametrize("what", [("there.test", "MX"), ("mx.there.test", "A")])
    async def test_a_name_server_that_fails_proves_nothing(self, world: World, what: tuple[str, str]) -> None:
        world.domain("there.test", (10, "mx.there.test"))
        world.dns.broken.add(what)
        clock = VirtualClock(1_000_000.0)
        hop = await world.server("mx.there.test")
        delivery = world.delivery(clock=clock)
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert (codes(result), words(result), result.reached) == ([(451, "4.4.3")], ["OG-DNS"], False)
        asked = len(world.dns.asked)
        await delivery.send(to("b@there.test"), CONTENT)
        assert len(world.dns.asked) == asked  # Not once for each message.
        world.dns.broken.clear()
        clock.advance(31.0)
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert (codes(result), len(hop.messages)) == ([(250, "2.0.0")], 1)


class TestTheDns:
    async def test_answers_are_kept_as_long_as_they_say(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        world.domain("there.test", (10, "mx.there.test"))
        world.dns.ttl = 290  # Shorter than what is not there is believed.
        clock = VirtualClock(1_000_000.0)
        delivery = world.delivery(clock=clock)
        await asyncio.gather(*(delivery.send(to("b@there.test"), CONTENT) for _ in range(5)))
        asked = len(world.dns.asked)
        assert world.dns.asked.count("there.test") == 1
        clock.advance(289.0)
        await delivery.send(to("b@there.test"), CONTENT)
        assert len(world.dns.asked) == asked
        # A new server takes over, and the connections to the old one go.
        new = await world.server()
        world.dns.names["mx.there.test"] = [new.host]
        clock.advance(2.0)
        await delivery.send(to("b@there.test"), CONTENT)
        assert (len(hop.messages), len(new.messages)) == (6, 1)
        await hop.quiet()
        assert not any(session.open for session in hop.sessions)


class TestManyRecipients:
    async def test_one_transaction_for_each_destination(self, world: World) -> None:
        here, there = await world.server("mx.here.test"), await world.server("mx.there.test")
        world.domain("a.test", (10, "mx.here.test"))
        world.domain("b.test", (5, "mx.here.test"))  # Other numbers, the same servers.
        world.domain("c.test", (10, "mx.there.test"))
        there.answer("RCPT", "550 5.1.1 no such user", when="bad@", times=None)
        there.answer("RCPT", "450 4.2.0 greylisted", when="grey@", times=None)
        recipients = ("1@a.test", "1@c.test", "1@b.test", "bad@c.test", "x@gone.test", "2@a.test", "grey@c.test")
        result = await world.delivery().send(to(*recipients), CONTENT)
        assert [reply.code for reply in result.replies] == [250, 250, 250, 550, 550, 250, 450]
        assert words(result)[4] == "OG-NODOMAIN"
        assert [result.peer_of(place).split(".")[1:2] for place in range(7)] == [
            *(["here"], ["there"], ["here"], ["there"], [], ["here"], ["there"])
        ]
        assert [message.recipients for message in here.messages] == [["1@a.test", "2@a.test", "1@b.test"]]
        assert [message.recipients for message in there.messages] == [["1@c.test"]]

    async def test_no_more_than_every_server_must_take(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        world.domain("there.test", (10, "mx.there.test"))
        result = await world.delivery().send(to(*(f"{number}@there.test" for number in range(250))), CONTENT)
        assert {reply.code for reply in result.replies} == {250}
        assert sorted(len(message.recipients) for message in hop.messages) == [50, 100, 100]

    async def test_a_slow_destination_does_not_hold_the_others_up(self, world: World) -> None:
        quick, slow = await world.server("mx.quick.test"), await world.server("mx.slow.test")
        slow.answer("CONNECT", NextHop.HANG, times=None)
        for name in ("quick", "slow"):
            world.domain(f"{name}.test", (10, f"mx.{name}.test"))
        sending = asyncio.create_task(world.delivery(patience=3.0).send(to("b@slow.test", "b@quick.test"), CONTENT))
        await quick.received(1)
        assert not sending.done()
        result = await sending
        assert (words(result)[0], result.replies[1].code, result.reached) == ("OG-SLOW", 250, True)

    async def test_connections_are_bounded(self, world: World) -> None:
        hops = [await world.server(f"mx{number}.there.test") for number in (1, 2)]
        world.domain("there.test", (10, "mx1.there.test"), (10, "mx2.there.test"))
        world.domain("other.test", (10, "mx1.there.test"))
        delivery = world.delivery(connections=3)
        sent = [delivery.send(to(f"b@{name}.test"), CONTENT) for _ in range(20) for name in ("there", "other")]
        results = await asyncio.gather(*sent)
        assert {reply.code for result in results for reply in result.replies} == {250}
        assert len(hops[0].sessions) <= 3
        assert len(hops[1].sessions) <= 3

    async def test_who_reports_success_is_known_of_each_server(self, world: World) -> None:
        """RFC 3461 5.2: those that know DSN report it; for the others we have to."""
        await world.server("mx.knows.test", extensions=("8BITMIME", "DSN"))
        await world.server("mx.plain.test")
        world.domain("knows.test", (10, "mx.knows.test"))
        world.domain("plain.test", (10, "mx.plain.test"))
        recipients = ("a@knows.test", "b@plain.test", "c@nowhere.test", "d@plain.test")
        asked = {to_: Asked(("SUCCESS",)) for to_ in recipients[:3]}
        result = await world.delivery().send(Envelope("a@x.test", recipients, asked=asked), CONTENT)
        assert [reply.accepted for reply in result.replies] == [True, True, False, True]
        assert result.relayed == (1,)


class TestPatience:
    """In a relay process a client waits for the answer."""

    async def test_a_slow_name_server(self, world: World) -> None:
        world.dns.silent = True
        result = await world.delivery(patience=0.2).send(to("b@there.test"), CONTENT)
        assert (words(result), result.reached) == (["OG-SLOW"], False)

    @pytest.mark.parametrize("place", ["CONNECT", "EHLO"])
    async def test_a_slow_session(self, world: World, place: str) -> None:
        hop = await world.server("mx.there.test")
        hop.answer(place, NextHop.HANG)
        world.domain("there.test", (10, "mx.there.test"))
        delivery = world.delivery(patience=2.0)  # The second time, all of a session has to fit into it.
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert (words(result), result.reached) == (["OG-SLOW"], False)
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert codes(result) == [(250, "2.0.0")]  # It was this message that was in a hurry; the server may be well.

    async def test_a_slow_command(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        hop.answer("RCPT", NextHop.HANG)
        world.domain("there.test", (10, "mx.there.test"))
        result = await world.delivery(patience=0.3).send(to("b@there.test"), CONTENT)
        assert (result.replies[0].temporary, result.reached, hop.messages) == (True, False, [])

    async def test_who_has_the_whole_message_may_answer_late(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        hop.answer(".", "250 2.0.0 at last", delay=4.0)
        world.domain("there.test", (10, "mx.there.test"))
        result = await world.delivery(patience=2.0).send(to("b@there.test"), CONTENT)
        assert [reply.text for reply in result.replies] == ["at last"]


class TestWhatServersSay:
    async def test_ten_thousand_lines(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        hop.answer(".", "\n".join(["550 5.7.1 no", *["and no"] * 9_999]))
        world.domain("there.test", (10, "mx.there.test"))
        result = await world.delivery().send(to("b@there.test"), CONTENT)
        assert codes(result) == [(550, "5.7.1")]
        assert len(result.replies[0].text.split("\n")) == 100

    async def test_internationalized_mail_where_it_is_not_taken(self, world: World) -> None:
        hop = await world.server("mx.there.test", extensions=("8BITMIME",))
        world.domain("there.test", (10, "mx.there.test"))
        result = await world.delivery().send(to("bücher@there.test", "b@there.test", smtputf8=True), CONTENT)
        assert codes(result) == [(553, "5.6.7"), (250, "2.0.0")]
        assert [message.recipients for message in hop.messages] == [["b@there.test"]]

    async def test_octets_above_127_where_nobody_announces_them(self, world: World) -> None:
        hop = await world.server("mx.there.test", extensions=())
        world.domain("there.test", (10, "mx.there.test"))
        content = [b"Subject: x\r\n\r\n\xe4\r\n"]
        result = await world.delivery().send(to("b@there.test", eight_bit=True), content)
        assert (codes(result), hop.messages[0].parameters) == ([(250, "2.0.0")], "")
        assert hop.messages[0].content == content[0]

    async def test_our_address_is_refused_and_another_one_is_used(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        hop.answer("RCPT", "554 5.7.1 Client host blocked using zen.example", times=None, source="127.0.8.1")
        world.domain("there.test", (10, "mx.there.test"))
        delivery = world.delivery(config.Pool(source_addresses=("127.0.8.1", "127.0.8.2")))
        for _ in range(2):
            result = await delivery.send(to("b@there.test"), CONTENT)
            assert (codes(result), result.source, result.listed) == ([(250, "2.0.0")], "127.0.8.2", ())
        assert [(peer, source) for peer, source, _ in world.refusals] == [
            (f"mx.there.test:{world.port}", "127.0.8.1")
        ] * len(world.refusals)

    @pytest.mark.parametrize("place", ["CONNECT", "MAIL"])
    @pytest.mark.parametrize("addresses", [("127.0.8.1",), ("127.0.8.1", "127.0.8.2")])
    async def test_a_receiver_is_left_alone_when_it_refuses_all_we_have(
        self, world: World, addresses: tuple[str, ...], place: str
    ) -> None:
        hop = await world.server("mx.there.test")
        said = "550 5.7.1 Messages from [127.0.8.1] weren't sent, part of their network is on our block list (S3150)"
        hop.answer(place, said, times=None, source="127.0.8.1")
        world.domain("there.test", (10, "mx.there.test"))
        clock = VirtualClock(1_000_000.0)
        delivery = world.delivery(config.Pool(source_addresses=addresses), clock=clock)
        results = []
        for _ in range(3):
            results.append(await delivery.send(to("b@there.test"), CONTENT))
            clock.advance(1000.0)
        if len(addresses) == 2:
            assert [codes(result)[0][0] for result in results] == [250] * 3
        else:
            assert [words(result) for result in results] == [["OG-LISTED"], ["OG-LISTED"], ["OG-PACE"]]

    async def test_resting_addresses_are_not_used(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        world.domain("there.test", (10, "mx.there.test"))
        delivery = world.delivery(config.Pool(source_addresses=("127.0.8.1", "127.0.8.2")))
        delivery.rest({"default": frozenset({"127.0.8.2"})})
        for _ in range(3):
            await delivery.send(to("b@there.test"), CONTENT)
        assert {message.session.source[0] for message in hop.messages} == {"127.0.8.1"}

    async def test_a_receiver_that_slows_us_down(self, world: World) -> None:
        hop = await world.server("mx.there.test")
        hop.answer("MAIL", "421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints", times=2)
        world.domain("there.test", (10, "mx.there.test"))
        world.domain("sister.test", (10, "mx.there.test"), (20, "mx2.there.test"))
        clock = VirtualClock(1_000_000.0)
        delivery = world.delivery(clock=clock)
        for _ in range(2):
            result = await delivery.send(to("b@there.test"), CONTENT)
            assert result.replies[0].temporary
            clock.advance(120.0)
        sessions = len(hop.sessions)
        for domain in ("there.test", "sister.test"):
            result = await delivery.send(to(f"b@{domain}"), CONTENT)
            assert (words(result), result.reached) == (["OG-PACE"], False)
            assert 7000 < result.wait <= 7300
        assert (len(hop.sessions), hop.messages) == (sessions, [])
        assert world.counted.count("paced") == 2
        clock.advance(7300.0)
        result = await delivery.send(to("b@there.test"), CONTENT)
        assert (codes(result), result.wait) == ([(250, "2.0.0")], 0.0)
