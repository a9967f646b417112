"""What a sender is told of a queued message, and when: the decision alone."""

from __future__ import annotations

import msgspec
import pytest

from outbound_guard.config import Delivery
from outbound_guard.delivery.reporting import Report, reports
from outbound_guard.mail import Asked, Envelope
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Failure, Progress

NOW = 1_800_000_000.0
LATER = Reply(451, "4.3.0", "later")
PERSON = b"From: a@example.com\r\nSubject: x\r\n\r\nbody"
DELIVERY = Delivery(delay_warning=1000.0, expiry=5000.0)
HOURS = 4 * 3600.0


def entry(*recipients: str, notify: dict[str, tuple[str, ...]] | None = None, **fields: object) -> Entry:
    asked = {to: Asked(words) for to, words in (notify or {}).items()}
    made = Entry("0abc", NOW, Envelope("a@example.com", recipients, asked=asked), bounce_to="a@example.com")
    return msgspec.structs.replace(made, **fields)


def due(
    one: Entry, at: float, progress: Progress | None = None, content: bytes = PERSON, delivery: Delivery = DELIVERY
) -> list[Report]:
    return list(reports(one, progress or Progress(), content, NOW + at, delivery))


def told(found: list[Report]) -> list[tuple[str, list[str]]]:
    return [(one.kind.action, [about.recipient for about in one.about]) for one in found]


def test_a_delay_is_told_once_and_not_before_its_time() -> None:
    one = entry("b@b.test", "c@c.test")
    progress = Progress(1, NOW + 60, remaining=("c@c.test",), replies={"c@c.test": LATER})
    assert due(one, 999, progress) == []
    [report] = due(one, 1000, progress)
    assert told([report]) == [("delayed", ["c@c.test"])]
    assert report.about[0].reply == LATER
    assert report.until == NOW + 5000
    assert due(one, 2000, report.told) == []
    assert report.told == msgspec.structs.replace(progress, warned=True)


def test_time_counts_from_a_release() -> None:
    released = Progress(since=NOW + 10_000)
    assert due(entry("b@b.test"), 10_500, released) == []
    [report] = due(entry("b@b.test"), 11_000, released)
    assert report.until == NOW + 15_000


@pytest.mark.parametrize(
    ("notify", "warning", "after"),
    [
        ((), 1000.0, 1000.0),
        ((), 0.0, None),
        (("FAILURE",), 1000.0, None),
        (("SUCCESS",), 1000.0, None),
        (("NEVER",), 1000.0, None),
        (("DELAY",), 1000.0, 1000.0),
        (("FAILURE", "DELAY"), 0.0, HOURS),
    ],
)
def test_who_is_told_of_a_delay(notify: tuple[str, ...], warning: float, after: float | None) -> None:
    """RFC 3461 4.1."""
    one = entry("b@b.test", notify={"b@b.test": notify})
    delivery = Delivery(delay_warning=warning)
    if after is None:
        assert due(one, 100 * HOURS, delivery=delivery) == []
    else:
        assert due(one, after - 1, delivery=delivery) == []
        assert told(due(one, after, delivery=delivery)) == [("delayed", ["b@b.test"])]


def test_each_recipient_is_asked_for_by_itself() -> None:
    notify: dict[str, tuple[str, ...]] = {"yes@b.test": ("DELAY",), "no@b.test": ("FAILURE",)}
    assert told(due(entry("yes@b.test", "no@b.test", "plain@b.test", notify=notify), 1000)) == [
        ("delayed", ["yes@b.test", "plain@b.test"])
    ]


def test_nobody_is_told_who_may_not_be() -> None:
    assert due(entry("b@b.test", bounce_to=""), HOURS) == []
    assert due(entry("b@b.test", envelope=Envelope("", ("b@b.test",))), HOURS) == []


@pytest.mark.parametrize(
    "field",
    ["List-Id: <x.example>", "List-Unsubscribe: <mailto:x@x>", "Precedence: bulk", "Auto-Submitted: auto-generated"],
)
def test_mailings_and_programs_are_told_only_if_they_ask(field: str) -> None:
    content = field.encode() + b"\r\n" + PERSON
    assert due(entry("b@b.test"), HOURS, content=content) == []
    asked: dict[str, tuple[str, ...]] = {"b@b.test": ("DELAY",)}
    mixed = entry("b@b.test", "c@b.test", notify=asked)
    assert told(due(mixed, HOURS, content=content)) == [("delayed", ["b@b.test"])]
    assert told(due(entry("b@b.test"), HOURS, content=b"Auto-Submitted: no\r\n" + PERSON))


def test_what_matters_most_comes_first_and_each_leaves_the_rest() -> None:
    failed = Failure("b@b.test", Reply(550, "5.1.1", "no"), "", NOW)
    relayed = Failure("c@b.test", Reply(250, "2.0.0", "ok"), "", NOW)
    progress = Progress(remaining=("d@b.test",), failed=(failed,), relayed=(relayed,))
    one, two, three = due(entry("b@b.test", "c@b.test", "d@b.test"), 1000, progress)
    assert told([one, two, three]) == [
        ("failed", ["b@b.test"]),
        ("relayed", ["c@b.test"]),
        ("delayed", ["d@b.test"]),
    ]
    assert (one.told.failed, one.told.relayed, one.told.warned) == ((), (relayed,), False)
    assert (two.told.relayed, two.told.warned) == ((), False)
    assert three.told.warned
