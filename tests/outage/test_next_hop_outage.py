"""The next hop is away, breaks off, refuses, or likes some recipients more than others: replies, queue and reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.nexthop import Message, NextHop
from tests.product import Hops, Product, message, until

SENDER = "anna@customer.test"
QUEUED = re.compile(r"250 2\.0\.0 Ok: queued as ([0-9a-z]{16})")
RELAYED = re.compile(r"250 2\.0\.0 Ok: queued as TEST \([0-9a-z]{16}\)")

MORE = """
[[identity]]
from = "header:Received"
pattern = 'Authenticated sender: (\\S+?)\\)'
trusted = ["127.0.0.0/8"]
"""


class House:
    """The product and its next hop."""

    def __init__(self, hops: Hops, product: Product, hop: NextHop) -> None:
        self.hops, self.product, self.hop = hops, product, hop

    def submit(self, subject: str, *recipients: str, mail_from: str = SENDER, login: str = SENDER) -> str:
        trace = f"from pc ([192.0.2.7]) (Authenticated sender: {login})\r\n\tby web1; now"
        with self.product.client() as client:
            return client.submit(mail_from, recipients, message(subject, Received=trace))

    def got(self, subject: str, number: int = 1) -> list[Message]:
        """The messages (and reports about them) with this subject, as soon as there are so many."""
        mark = f"Subject: {subject}\r\n".encode()

        def found() -> list[Message]:
            return [one for one in self.hop.messages if mark in one.content]

        until(lambda: len(found()) >= number, lambda: (subject, len(found()), self.product.said()))
        return found()

    def settled(self, subject: str) -> list[Message]:
        """All that has arrived of it, when nothing is left in the spool."""
        until(lambda: not self.left(), lambda: self.left())
        return self.got(subject, 0)

    def works(self) -> None:
        """Return when the relay uses the next hop: after a failure it leaves it alone for a second or more."""
        until(lambda: RELAYED.fullmatch(self.submit("it works", "r@there.test")), self.product.said)

    def left(self) -> list[str]:
        spool = self.product.data / "spool"
        return [str(file) for state in ("incoming", "queue", "held", "progress") for file in (spool / state).iterdir()]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        hop = hops.start()
        folder = tmp_path_factory.mktemp("hop")
        with Product.made(folder, smarthosts=[hop.address], relays=1, reply_seconds=5, more=MORE) as product:
            yield House(hops, product, hop)


def test_while_it_is_away_mail_is_queued_and_then_delivered_once(house: House) -> None:
    with house.hops.away(house.hop):
        answers = [house.submit("away", f"r{number}@there.test") for number in range(30)]
        assert all(QUEUED.fullmatch(answer) for answer in answers), answers
        # What was tried once is tried again after the first of the waits that the configuration names.
        queue = house.product.data / "spool/queue"
        entries = until(lambda: [json.loads(file.read_bytes().split(b"\n")[0]) for file in queue.iterdir()])
        assert {round(entry["due"] - entry["received"], 3) for entry in entries} == {1.0}
        assert {entry["attempts"] for entry in entries} == {1}
        until(lambda: house.product.metric("next_hop_up") == 0, "the metrics say so")
        until(lambda: house.product.metric("next_hop_events_total", event="connect") >= 1, "it is counted")
    got = house.got("away", 30)
    assert {one.recipients[0] for one in got} == {f"r{number}@there.test" for number in range(30)}
    assert len(house.settled("away")) == 30
    # Soon after it is back, mail goes through at once again.
    house.works()
    until(lambda: house.product.metric("next_hop_up") == 1, "the metrics say so")


@pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA", "BODY", "."])
def test_it_breaks_off(house: House, place: str) -> None:
    subject = f"broken off at {place}"
    house.hop.answer(place, house.hop.CLOSE)
    answer = house.submit(subject, "r@there.test")
    assert QUEUED.fullmatch(answer) or RELAYED.fullmatch(answer), answer
    assert len(house.got(subject)) == 1
    assert len(house.settled(subject)) == 1
    # What got to the dot may have been accepted, so it is offered once more; here it was not.
    again = sum(f"Subject: {subject}\r\n".encode() in one.content for one in house.hop.refused)
    assert again == (1 if place == "." else 0)
    house.works()


def test_it_does_not_answer(house: House) -> None:
    house.hop.answer(".", house.hop.HANG)
    answer = house.submit("no answer", "r@there.test")
    assert QUEUED.fullmatch(answer), answer
    assert len(house.got("no answer")) == 1
    assert len(house.settled("no answer")) == 1
    until(lambda: house.product.metric("next_hop_events_total", event="timeout") == 1, "it is counted")
    house.works()


@pytest.mark.parametrize(
    ("place", "reply"),
    [
        ("MAIL", "550 5.7.1 not from you"),
        ("MAIL", "451 4.7.0 not now"),
        ("RCPT", "550 5.1.1 no such mailbox"),
        ("RCPT", "450 4.2.1 not now"),
        ("DATA", "554 5.5.1 no"),
        (".", "554 5.7.1 we do not like it"),
        (".", "452 4.3.1 full"),
    ],
)
def test_all_recipients_are_refused_alike_with_the_next_hops_own_reply(house: House, place: str, reply: str) -> None:
    for recipients in (["r@there.test"], ["r@there.test", "s@there.test"]):
        house.hop.answer(place, reply, times=len(recipients) if place == "RCPT" else 1)
        said = house.submit("refused alike", *recipients)
        assert re.fullmatch(re.escape(reply) + r"( \([0-9a-z]{16}\))?", said), said
        # The client keeps it or gives it back; we do neither.
        assert house.settled("refused alike") == []


def test_some_are_refused_for_now(house: House) -> None:
    house.hop.answer("RCPT", "451 4.7.1 not at first", when="later@", times=2)
    said = house.submit("some later", "r@there.test", "later@there.test")
    assert QUEUED.fullmatch(said), said
    assert [one.recipients for one in house.got("some later", 2)] == [["r@there.test"], ["later@there.test"]]
    assert len(house.settled("some later")) == 2


def test_some_are_refused_for_good(house: House) -> None:
    house.hop.answer("RCPT", "550 5.1.1 no such mailbox here", when="gone@")
    said = house.submit("some gone", "r@there.test", "gone@there.test", "s@there.test")
    assert said.startswith("250 "), said
    relayed, report = house.got("some gone", 2)
    assert relayed.recipients == ["r@there.test", "s@there.test"]
    assert (report.mail_from, report.recipients) == ("", [SENDER])
    assert b"multipart/report; report-type=delivery-status" in report.content
    assert b"Final-Recipient: rfc822; gone@there.test\r\nAction: failed\r\nStatus: 5.1.1\r\n" in report.content
    assert b"r@there.test" not in report.content.partition(b"Subject: some gone")[0].partition(b"Final-Recipient")[2]
    assert len(house.settled("some gone")) == 2


def test_every_recipient_has_a_fate_of_its_own(house: House) -> None:
    house.hop.answer("RCPT", "550 5.1.1 no such mailbox", when="gone@")
    house.hop.answer("RCPT", "452 4.2.2 full", when="full@", times=3)
    said = house.submit("three fates", "gone@there.test", "full@there.test", "r@there.test")
    assert QUEUED.fullmatch(said), said
    got = house.got("three fates", 3)
    assert sorted(one.recipients[0] for one in got) == [SENDER, "full@there.test", "r@there.test"]
    assert len(house.settled("three fates")) == 3


def test_refused_for_good_and_for_now_but_taken_for_none(house: House) -> None:
    house.hop.answer("RCPT", "550 5.1.1 no such mailbox", when="gone@")
    house.hop.answer("RCPT", "452 4.2.2 full", when="full@", times=1)
    said = house.submit("mixed refusals", "gone@there.test", "full@there.test")
    assert QUEUED.fullmatch(said), said
    got = house.got("mixed refusals", 2)
    assert sorted(one.recipients[0] for one in got) == [SENDER, "full@there.test"]
    assert len(house.settled("mixed refusals")) == 2


@pytest.mark.parametrize("mail_from", ["", "victim@elsewhere.test"])
def test_nobody_is_written_to_who_has_not_sent_it(house: House, mail_from: str) -> None:
    """The null sender gets no report (RFC 5321 4.5.5), and a forged one neither: that would be backscatter."""
    subject = f"gone from {mail_from or 'nobody'}"
    before = len(house.hop.messages)
    # One more, whose report does come, is behind it in everything.
    for sender in (mail_from, "thief@customer.test"):
        house.hop.answer("RCPT", "550 5.1.1 no such mailbox", when="gone@")
        said = house.submit(subject, "gone@there.test", "r@there.test", mail_from=sender, login="thief@customer.test")
        assert said.startswith("250 "), said
    house.got(subject, 3)
    assert len(house.settled(subject)) == 3
    arrived = house.hop.messages[before:]
    assert [one.mail_from for one in arrived] == [mail_from, "thief@customer.test", ""]
    assert arrived[2].recipients == ["thief@customer.test"]
