"""The bookkeeping of the chaos test must itself be able to find fault."""

from __future__ import annotations

import random

from tests.loadclient import Account, Answered, mail, reconcile
from tests.nexthop import Message, NextHop, Session

TRACE = b"Received: from x by y; now\r\n"


def account(arrived: list[tuple[str, list[str], bytes]], *recipients: str) -> Account:
    """One message to these recipients, answered 250, against what arrived: (mail_from, recipients, content)."""
    one = Answered(SENT, "250 2.0.0 Ok")
    one.mail.recipients = list(recipients)
    session = Session(NextHop())
    return reconcile(
        [one], [Message(*who, "", content.replace(b"\r\n.", b"\r\n.."), session) for *who, content in arrived]
    )


SENT = mail("k1", "a@x.test", [], 500, random.Random(1))
WHOLE = TRACE + SENT.content


def test_all_is_well() -> None:
    found = account([("a@x.test", ["b@y.test"], WHOLE), ("a@x.test", ["c@y.test"], WHOLE)], "b@y.test", "c@y.test")
    assert (found.messages, found.deliveries) == (1, 2)
    assert (found.lost, found.corrupted, found.duplicated, found.unreported) == ([], [], {}, [])


def test_a_recipient_is_missing() -> None:
    assert account([("a@x.test", ["b@y.test"], WHOLE)], "b@y.test", "c@y.test").lost == ["k1 c@y.test"]


def test_an_octet_is_wrong() -> None:
    changed = WHOLE[:-10] + b"!" + WHOLE[-9:]
    assert account([("a@x.test", ["b@y.test"], changed)], "b@y.test").corrupted == ["k1"]


def test_it_came_thrice() -> None:
    assert account([("a@x.test", ["b@y.test"], WHOLE)] * 3, "b@y.test").duplicated.total() == 2


def test_the_sender_was_not_told_of_a_refusal() -> None:
    delivered = ("a@x.test", ["b@y.test"], WHOLE)
    assert account([delivered], "b@y.test", "gone-k1@y.test").unreported == ["k1"]
    report = ("", ["a@x.test"], b"Subject: failed\r\n\r\n" + SENT.content)
    assert account([delivered, report], "b@y.test", "gone-k1@y.test").unreported == []
