"""The whole product in front of next hops that refuse its address: its clients do not suffer from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nexthop import NextHop
from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.long

LISTED = "554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.example"
QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as ([0-9a-z]{16})")
RELAYED = re.compile(r"250 2\.0\.0 Ok: queued as TEST \([0-9a-z]{16}\)")
SECOND_POOL = """
[[delivery.pool]]
name = "second"
smarthosts = ["{address}"]
tls = "none"
source_addresses = ["127.0.0.2", "127.0.0.1"]
"""


class House:
    """The product, two next hops of its first pool, and one of its second."""

    def __init__(self, folder: Path, hops: Hops) -> None:
        self.hops = [hops.start() for _ in range(3)]
        self.product = Product.made(
            folder,
            smarthosts=[hop.address for hop in self.hops[:2]],
            relays=1,
            more=SECOND_POOL.format(address=self.hops[2].address),
        )

    def submit(self, subject: str, *recipients: str) -> str:
        with self.product.client() as client:
            return client.submit("anna@customer.test", recipients, message(subject))

    def got(self, subject: str) -> list[tuple[NextHop, list[str]]]:
        """Who has accepted this message, and for whom, as soon as nothing is left in the spool."""
        spool = self.product.data / "spool"
        until(lambda: not [*(spool / "incoming").iterdir(), *(spool / "queue").iterdir()], self.product.said)
        mark = f"Subject: {subject}\r\n".encode()
        return [(hop, one.recipients) for hop in self.hops for one in hop.messages if mark in one.content]


def tries(hop: NextHop) -> int:
    """Transactions that were begun there."""
    return sum(command.startswith("MAIL") for session in hop.sessions for command in session.commands)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Hops() as hops:
        house = House(tmp_path, hops)
        with house.product:
            yield house


def test_what_nobody_takes_from_our_address_is_queued_and_delivered_later(house: House) -> None:
    first, second, other = house.hops
    # One next hop refuses; the other takes it, and the client hears its answer.
    first.answer("MAIL", LISTED, times=None)
    for number in range(4):
        assert RELAYED.fullmatch(house.submit(f"one host {number}", "r@there.test"))
        assert house.got(f"one host {number}") == [(second, ["r@there.test"])]

    # The whole pool refuses one recipient of two; another pool takes that one.
    second.answer("RCPT", LISTED, when="two@", times=None)
    assert RELAYED.fullmatch(house.submit("one recipient", "one@there.test", "two@there.test"))
    assert house.got("one recipient") == [(second, ["one@there.test"]), (other, ["two@there.test"])]
    # There the one address was refused, so it came from the other.
    other.answer("MAIL", LISTED, times=None, source="127.0.0.1")
    assert RELAYED.fullmatch(house.submit("one address", "two@there.test"))
    assert house.got("one address") == [(other, ["two@there.test"])]

    # All refuse.
    second.answer(".", LISTED, times=None)
    other.answer("CONNECT", LISTED, times=None)
    other.answer("MAIL", LISTED, times=None)
    answered = QUEUED.fullmatch(house.submit("all refuse", "one@there.test", "two@there.test"))
    assert answered
    entries = until(
        lambda: [
            json.loads(file.read_bytes().split(b"\n")[0]) for file in (house.product.data / "spool" / "queue").iterdir()
        ]
    )
    assert [entry["id"] for entry in entries] == [answered[1]]
    # It is tried again by the queue, which finds that nothing has changed.
    before = tries(first)
    until(lambda: tries(first) > before, house.product.said)
    until(lambda: house.product.metric("next_hop_events_total", event="our_address") >= 5, "it is counted")
    for hop in house.hops:
        hop.forget()
    [(_, recipients)] = house.got("all refuse")
    assert recipients == ["one@there.test", "two@there.test"]
    # Each of the three was told of at most once a minute, by the relay and by the queue.
    lines = [line for line in house.product.said().split("\n") if "refuses our address" in line]
    assert 4 <= len(lines) <= 6, lines


def test_an_ordinary_answer_for_now_is_passed_on(house: House) -> None:
    for hop in house.hops:
        hop.answer("RCPT", "451 4.2.0 greylisted", times=None)
    assert house.submit("greylisted", "r@there.test").startswith("451 4.2.0 greylisted (")
    assert house.got("greylisted") == []
    assert sum(len(hop.sessions) for hop in house.hops) == 1
