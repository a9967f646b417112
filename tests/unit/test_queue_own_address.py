"""Queued mail while next hops refuse our address: it is tried again until it expires, and only then returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import VirtualClock
from outbound_guard.delivery import Delivery
from outbound_guard.delivery.classes import outcome_of
from outbound_guard.delivery.queue import Queue
from outbound_guard.delivery.retry import Outcome
from outbound_guard.mail import Envelope, Verdict
from outbound_guard.spool import Entry, Spool
from tests.nexthop import NextHop

NOW = 1_800_000_000.0
LISTED = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"


class House:
    """A queue in front of real next hops, in virtual time."""

    def __init__(self, folder: Path, hop: NextHop) -> None:
        self.clock = VirtualClock(NOW)
        self.spool = Spool(folder / "spool", self.clock, 0)
        self.results: list[tuple[str, str, bool]] = []
        settings = config.Delivery(
            retry=(5, 30), expiry=100, pool=(config.Pool(smarthosts=(hop.address,), connections=2),)
        )
        whole = config.Config(delivery=settings, server=config.Server(data_dir="d"), path=str(folder / "x.toml"))
        self.delivery = Delivery(whole, hostname="guard.test", clock=self.clock, count=lambda *_: None)
        self.queue = Queue(
            self.spool,
            self.delivery.send,
            delivery=settings,
            hold_expiry=1e6,
            clock=self.clock,
            hostname="guard.test",
            review=self.review,
            on_results=self.told,
            jitter=lambda: 0.0,
        )

    async def review(self, entry: Entry, content: bytes) -> Verdict:
        raise AssertionError("nothing is held here")

    def told(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        self.results += [(one.recipient, outcome_of(one.reply), one.final) for one in outcomes]

    async def after(self, seconds: float) -> None:
        """Let what is due by then be tried."""
        self.clock.advance(seconds)
        for _ in range(3):
            await self.queue.turn()
            await self.queue.settled()

    async def put(self, *recipients: str) -> None:
        entry = Entry("0000000000000001", NOW, Envelope("anna@a.test", recipients), bounce_to="anna@a.test")
        await self.spool.put(entry, [b"Subject: x\r\n\r\nhello\r\n"], "incoming")


@pytest.fixture
async def house(next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path) -> AsyncIterator[tuple[House, NextHop]]:
    hop = await next_hop()
    house = House(tmp_path, hop)
    yield house, hop
    await house.delivery.close()
    house.spool.close()


async def test_it_is_tried_again_and_only_for_those_who_do_not_have_it(house: tuple[House, NextHop]) -> None:
    queue, hop = house
    hop.answer("RCPT", LISTED, when="b@", times=2)
    await queue.put("a@y.test", "b@y.test")
    for seconds in (0, 5, 30):
        await queue.after(seconds)
    assert [message.recipients for message in hop.messages] == [["a@y.test"], ["b@y.test"]]
    assert queue.results == [
        ("a@y.test", "delivered", True),
        ("b@y.test", "our_address", False),
        ("b@y.test", "our_address", False),
        ("b@y.test", "delivered", True),
    ]
    assert not any((await queue.spool.counts()).values())


async def test_it_is_returned_when_it_expires_and_not_before(house: tuple[House, NextHop]) -> None:
    queue, hop = house
    hop.answer("MAIL", LISTED, when="anna@", times=None)
    await queue.put("b@y.test")
    for seconds in (0, 5, 30, 30, 30):
        await queue.after(seconds)
        assert hop.messages == []
    await queue.after(5)
    await queue.after(0)
    [bounce] = hop.messages
    assert (bounce.mail_from, bounce.recipients) == ("", ["anna@a.test"])
    assert b"OG-LISTED" in bounce.content
    assert b"blocked using zen.example" in bounce.content
    # It is not the sender's fault, to the end.
    assert queue.results[:-1] == [("b@y.test", "our_address", False)] * 5 + [("b@y.test", "our_address", True)]
