"""Where is my mail: a message is found by whatever people know of it, and its story is told to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard import desk
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config
from outbound_guard.config.settings import Server
from outbound_guard.desk import DeskError
from outbound_guard.desk.messages.search import Story, message_search, place_of, place_text, story
from outbound_guard.ledger import message_queries
from outbound_guard.ledger.message_queries import Search
from outbound_guard.ledger.records import (
    Audit,
    BulkDone,
    BulkPlaced,
    BulkResult,
    Decision,
    Delivered,
    Feedback,
    HeldChange,
    WeightChange,
)
from outbound_guard.mail import Envelope, first_id, last_id, new_id, time_of
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Progress, Spool
from tests.records import BOTH_LONG, Books, books, decision, entry

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0
CONTENT = b"Subject: Hello\r\n\r\nText\r\n"


class Room:
    """Books, a spool, and a configuration."""

    def __init__(self, opened: Books, spool: Spool, config: Config, clock: VirtualClock) -> None:
        self.books, self.spool, self.config, self.clock = opened, spool, config, clock

    async def tell(self, id_: str) -> Story:
        return await story(self.books.ledger, self.spool, self.config, id_)

    async def find(self, **wanted: Any) -> list[str]:
        """The subjects of what is found."""
        found = await message_search(self.books.ledger, Search(**wanted))
        return [row["subject"] for row in found.rows]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    clock = VirtualClock(NOW)
    spool = Spool(tmp_path / "spool", clock, 0, threads=2)
    config = Config(server=Server(data_dir=str(tmp_path)), path=str(tmp_path / "guard.toml"))
    with books(tmp_path, clock) as opened:
        opened.ledger.migrate()
        yield Room(opened, spool, config, clock)
    spool.close()


def told(time: float, subject: str, **other: Any) -> Decision:
    """A decision of that time, with an id as messages have it."""
    return decision(new_id(time), received=time, subject=subject, **other)


def relayed(time: float = NOW, **other: Any) -> Decision:
    """One message that was relayed at once."""
    answered = "250 2.0.0 Ok: queued as ABC"
    fields = {"action": "relay", "state": "", "recipients": ("x@there.test",), "answered": answered}
    return told(time, "relayed", **{**fields, **other})


# -- Ids ---------------------------------------------------------------------------------------------------------------


def test_an_id_says_when_it_was_made() -> None:
    for time in (0.0, 1.0, NOW, NOW + 0.123, 4_000_000_000.5):
        id_ = new_id(time)
        assert time_of(id_) == int(time * 1000) / 1000
        assert first_id(time) <= id_ <= last_id(time) < first_id(time + 0.002)
    for text in ("", "m1", "0" * 15, "0" * 17, "0" * 15 + "U", "../../etc/passwd"):
        assert time_of(text) is None


# -- Finding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["five", "four", "three", "two", "one"]),
        ({"address": "anna@shop.test"}, ["four", "three", "one"]),
        ({"address": " <Anna@SHOP.test> "}, ["four", "three", "one"]),
        ({"address": "web@shop.test"}, ["two"]),
        ({"address": "nobody@shop.test"}, []),
        ({"message_id": "<abc@shop.test>"}, ["one"]),
        ({"message_id": "abc@shop.test", "address": "anna@shop.test"}, ["one"]),
        ({"message_id": "abc@shop.test", "address": "carl@there.test"}, []),
        ({"account": "shop.test"}, ["three", "two", "one"]),
        ({"account": "shop.test", "sender": "anna@shop.test"}, ["one"]),
        ({"account": "other.test", "sender": "anna@shop.test"}, []),
        ({"address": "anna@shop.test", "account": "other.test"}, ["four"]),
        ({"since": NOW + 1, "before": NOW + 3}, ["three", "two"]),
        ({"address": "anna@shop.test", "since": NOW + 1, "before": NOW + 3}, ["three"]),
        ({"action": "relay"}, ["five"]),
        ({"action": "relay", "account": "shop.test"}, []),
        ({"subject": "O"}, ["four", "two", "one"]),
        ({"subject": "%"}, []),
        ({"subject": "_"}, []),
    ],
)
async def test_messages_are_found_newest_first(room: Room, wanted: dict[str, Any], found: list[str]) -> None:
    room.books.keep(
        told(NOW, "one", sender="anna@shop.test", account="shop.test", message_id="abc@shop.test"),
        told(NOW + 1, "two", sender="web1/1001:a.php", account="shop.test", mail_from="web@shop.test"),
        told(NOW + 2, "three", sender="bob@shop.test", account="shop.test", recipients=("Anna@Shop.test", "b@c.test")),
        told(NOW + 3, "four", sender="bob@other.test", account="other.test", recipients=("anna@shop.test",)),
        told(NOW + 4, "five", sender="eve@third.test", account="third.test", action="relay", state=""),
    )
    assert await room.find(**wanted) == found


async def test_an_id_of_ours_finds_its_message(room: Room) -> None:
    record = relayed()
    room.books.keep(record, relayed(NOW + 1))
    found = await message_search(room.books.ledger, Search(message_id=record.id))
    assert [row["id"] for row in found.rows] == [record.id]
    assert await room.find(message_id=new_id(NOW)) == []


@pytest.mark.parametrize(
    "wanted", [{}, {"address": "x@there.test"}, {"account": "example.org"}, {"subject": "relayed"}]
)
async def test_pages_follow_each_other_without_a_gap(room: Room, wanted: dict[str, Any]) -> None:
    # Some of the same moment: then the id decides.
    records = [relayed(NOW + n // 3) for n in range(11)]
    room.books.keep(*records)
    seen: list[str] = []
    place, pages = "", 0
    while pages == 0 or place:
        found = await message_search(room.books.ledger, Search(after=place_of(place), limit=4, **wanted))
        seen += [row["id"] for row in found.rows]
        place, pages = place_text(found.more), pages + 1
    assert pages == 3
    assert seen == sorted((record.id for record in records), reverse=True)


@pytest.mark.parametrize("wanted", [{}, {"account": "example.org"}, {"address": "x@there.test"}])
async def test_a_search_that_ends_early_says_how_far_it_looked(
    room: Room, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    monkeypatch.setattr(message_queries, "SCAN", 5)
    room.books.keep(*(relayed(NOW + n, message_id=f"n{n}") for n in range(8)), relayed(NOW - 1))
    room.books.keep(told(NOW - 2, "the one", recipients=("x@there.test",), state=""))
    found = await message_search(room.books.ledger, Search(subject="the one", **wanted))
    assert (found.rows, found.looked_back_to) == ((), NOW + 3)
    found = await message_search(room.books.ledger, Search(subject="the one", after=found.more, **wanted))  # type: ignore[arg-type]
    assert ([row["subject"] for row in found.rows], found.looked_back_to) == (["the one"], NOW - 2)
    found = await message_search(room.books.ledger, Search(subject="the one", after=found.more, **wanted))  # type: ignore[arg-type]
    assert (found.rows, found.more) == ((), None)


@pytest.mark.parametrize("text", ["x", "1-", "nan-x", "-1-x", "1e99-x", "x-1"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    if text == "1-":
        assert place_of(text) == (1.0, "")
        return
    with pytest.raises(DeskError):
        place_of(text)


# -- Stories -----------------------------------------------------------------------------------------------------------


def states(found: Story) -> dict[str, str]:
    return {fate.recipient: fate.state for fate in found.recipients}


async def test_relayed_at_once(room: Room) -> None:
    record = relayed()
    room.books.keep(record)
    found = await room.tell(record.id)
    assert (found.summary, found.final, found.unknown) == ("Delivered.", True, ())
    assert [event.kind for event in found.events] == ["reception", "judgement", "answer"]
    assert found.recipients[0].text == "taken by the next hop at once: 250 2.0.0 Ok: queued as ABC"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Story) == found


@pytest.mark.parametrize(
    ("answered", "action", "state", "words"),
    [
        ("451 4.7.1 OG-LIMIT too many", "defer", "with_client", "the client keeps it and tries again"),
        ("550 5.7.1 OG-SUSPENDED may not send", "quarantine", "refused", "refused to the client"),
        ("451 4.3.0 later", "relay", "with_client", "the client keeps it"),
        ("550 5.1.1 unknown", "relay", "refused", "refused to the client"),
        ("", "relay", "unknown", "nothing is known"),
        ("250 2.0.0 Ok: held for review as X", "hold", "unknown", "nothing is known"),
    ],
)
async def test_what_the_client_was_told_is_the_end_of_it(
    room: Room, answered: str, action: str, state: str, words: str
) -> None:
    record = relayed(answered=answered, action=action)
    room.books.keep(record)
    found = await room.tell(record.id)
    assert (found.recipients[0].state, found.final) == (state, state != "unknown")
    assert words in found.recipients[0].text


async def test_observed_mail_was_relayed_whatever_the_verdict(room: Room) -> None:
    record = relayed(action="quarantine", mode="observe")
    room.books.keep(record)
    found = await room.tell(record.id)
    assert found.summary == "Delivered."
    assert "only observed" in found.events[1].text


async def test_each_recipient_has_its_own_end(room: Room) -> None:
    record = relayed(
        recipients=("a@there.test", "b@there.test", "c@there.test", "d@there.test"),
        answered="250 2.0.0 Ok: queued as X",
        mail_from="a@example.org",
    )
    hop = "192.0.2.1:25"
    room.books.keep(
        record,
        Delivered(record.id, NOW, "a@there.test", 250, "2.0.0", "Ok", hop),
        Delivered(record.id, NOW, "b@there.test", 550, "5.1.1", "no such user", hop),
        Delivered(record.id, NOW, "c@there.test", 451, "4.7.1", "greylisted", hop, final=False),
        Delivered(record.id, NOW, "d@there.test", 451, "4.7.1", "greylisted", hop, final=False),
        Delivered(record.id, NOW + 60, "c@there.test", 451, "4.4.1", "OG-NEXTHOP no next hop", "", final=False),
        Delivered(record.id, NOW + 90, "d@there.test", 451, "4.4.7", "OG-EXPIRED not delivered", hop, final=True),
    )
    rest = Envelope("a@example.org", ("c@there.test", "d@there.test"))
    await room.spool.put(entry(record.id, received=NOW, envelope=rest, action="relay", attempts=1), [CONTENT], "queue")
    with await room.spool.lease(record.id, "queue") as message:
        reply = Reply(451, "4.4.1", "no next hop")
        progress = Progress(attempts=3, due=NOW + 600, remaining=("c@there.test",), replies={"c@there.test": reply})
        await message.save(progress)
    found = await room.tell(record.id)
    assert states(found) == {
        "a@there.test": "delivered",
        "b@there.test": "refused",
        "c@there.test": "trying",
        "d@there.test": "given_up",
    }
    assert not found.final
    assert found.summary == "Of 4 recipients: 1 delivered, 1 refused, 1 still tried, 1 given up."
    assert found.recipients[2].next == NOW + 600
    assert "3 tries so far; the last answer was 451 4.4.1 OG-NEXTHOP no next hop" in found.recipients[2].text
    texts = [event.text for event in found.events]
    # What two recipients were answered alike is one event.
    assert "192.0.2.1:25 did not take it for c@there.test, d@there.test now: 451 4.7.1 greylisted." in texts
    assert "No next hop could be reached for c@there.test: 451 4.4.1 OG-NEXTHOP no next hop." in texts
    assert texts[-1] == "It is tried again for c@there.test."
    assert found.events[-1].time == NOW + 600
    assert found.unknown == ("A report about what failed goes to a@example.org; no answer to it is known yet.",)
    room.books.keep(Delivered("report", NOW + 95, "a@example.org", 250, "2.0.0", "Ok", hop, about=record.id))
    found = await room.tell(record.id)
    assert found.unknown == ()
    (report,) = [event for event in found.events if event.kind == "report"]
    assert report.text == "The report about it: 192.0.2.1:25 took it for a@example.org: 250 2.0.0 Ok."
    assert report.fields["report"] == "report"


async def test_no_report_goes_to_an_address_that_is_not_the_accounts(room: Room) -> None:
    record = relayed(mail_from="forged@elsewhere.test", answered="250 2.0.0 Ok: queued as X")
    room.books.keep(record, Delivered(record.id, NOW, "x@there.test", 550, "5.1.1", "no", "192.0.2.1:25"))
    found = await room.tell(record.id)
    assert found.unknown == (
        "No report about what failed is sent: MAIL FROM is empty, or the account does not own that address.",
    )


async def test_an_answer_that_the_ledger_hears_of_late_is_not_the_last_word(room: Room) -> None:
    record = relayed(answered="250 2.0.0 Ok: queued as X")
    room.books.keep(record, Delivered(record.id, NOW + 2, "x@there.test", 550, "5.7.0", "given up by a person", ""))
    room.books.keep(Delivered(record.id, NOW, "x@there.test", 452, "4.2.2", "full", "192.0.2.1:25", final=False))
    assert states(await room.tell(record.id)) == {"x@there.test": "refused"}


async def test_what_came_to_the_desk_from_the_queue_was_not_held_before(room: Room) -> None:
    record = relayed(answered="250 2.0.0 Ok: queued as X")
    room.books.keep(
        record,
        HeldChange(record.id, NOW + 5, "held", by="cli:ann", reason="whose is it?"),
        HeldChange(record.id, NOW + 6, "held", by="cli:ann", reason="for a week"),
        HeldChange(record.id, NOW + 7, "quarantine", reason="its sender was suspended"),
    )
    found = await room.tell(record.id)
    assert [event.text for event in found.events if event.kind == "held"] == [
        "Held by cli:ann: whose is it?.",
        "Held on by cli:ann: for a week.",
        "Put into quarantine: its sender was suspended.",
    ]


async def test_held_released_and_delivered(room: Room) -> None:
    record = told(NOW, "held", recipients=("x@there.test",), answered="250 2.0.0 Ok: held for review as X")
    room.books.keep(record)
    await room.spool.put(
        entry(
            record.id, received=NOW, envelope=Envelope("a@example.org", ("x@there.test",)), bounce_to="a@example.org"
        ),
        [CONTENT],
        "held",
    )
    found = await room.tell(record.id)
    assert (states(found), found.held, found.in_spool) == ({"x@there.test": "held"}, "held", "held")
    assert found.recipients[0].next == NOW + room.config.spool.hold_expiry == found.events[-1].time
    assert found.events[-1].text == "If nobody decides, it goes back to its sender."
    room.clock.advance(60)
    await desk.release(room.spool, room.books.journal, room.clock, record.id, by="console:ann", reason="asked him")
    room.books.keep(
        Audit(NOW + 70, "console:ann", "message.seen", record.id, "its text"),
        WeightChange(NOW + 71, "novelty", "learned", 1.0, 0.97, message=record.id, finding="honest"),
    )
    found = await room.tell(record.id)
    assert (states(found), found.in_spool) == ({"x@there.test": "trying"}, "incoming")
    await room.spool.remove(record.id)
    room.books.keep(Delivered(record.id, NOW + 80, "x@there.test", 250, "2.0.0", "Ok", "192.0.2.1:25"))
    found = await room.tell(record.id)
    assert (found.summary, found.final, found.held) == ("Delivered.", True, "released")
    assert [(event.kind, event.time) for event in found.events[3:]] == [
        ("held", NOW),
        ("held", NOW + 60),
        ("act", NOW + 70),
        ("lesson", NOW + 71),
        ("delivery", NOW + 80),
    ]
    assert found.events[4].text == "Released by console:ann: asked him."
    # The audit says of the release what its change says already.
    assert "message.seen by console:ann: its text." in [event.text for event in found.events]


async def test_what_the_world_answers_later_is_told_and_concluded_from_if_it_is_proven(room: Room) -> None:
    record = relayed()
    late = {"kind": "bounce", "class_": "unknown_user", "message": record.id, "code": 550, "enhanced": "5.1.1"}
    room.books.keep(
        record,
        Feedback("k1", NOW + 60, recipient="X@there.test", counts=False, detail="forged", **late),  # type: ignore[arg-type]
        Feedback("k2", NOW + 70, "complaint", "abuse", message=record.id, counts=True, detail="by fbl.test"),
    )
    found = await room.tell(record.id)
    assert found.summary == "Delivered."
    texts = [event.text for event in found.events if event.kind == "feedback"]
    assert texts == [
        "A report came back for X@there.test (unknown_user, which is not proven): 550 5.1.1 forged.",
        "Somebody complained (abuse): by fbl.test.",
    ]
    room.books.keep(Feedback("k3", NOW + 80, recipient="X@there.test", counts=True, detail="no such user", **late))  # type: ignore[arg-type]
    found = await room.tell(record.id)
    assert found.summary == "Refused."
    assert found.recipients[0].text == "taken by the next hop, and refused later: 550 5.1.1 no such user"


async def test_a_decision_about_many_is_told_of_each_of_them(room: Room) -> None:
    record = told(NOW, "held", recipients=("x@there.test",), answered="250 2.0.0 Ok: held for review as X")
    room.books.keep(record, BulkPlaced("B1", NOW + 5, "release", (record.id, "other"), by="console:ann", due=NOW + 35))
    texts = [event.text for event in (await room.tell(record.id)).events]
    assert "Part of a decision by console:ann to release 2 messages: not done yet." in texts
    room.books.keep(BulkDone("B1", NOW + 40, (BulkResult(record.id, "done"),)))
    texts = [event.text for event in (await room.tell(record.id)).events]
    assert "Part of a decision by console:ann to release 2 messages: done." in texts


@pytest.mark.parametrize(
    ("to", "state", "final"),
    [
        ("deleted", "deleted", True),
        ("returned", "returned", True),
        ("released", "unknown", False),
        ("missing", "unknown", False),
        ("quarantine", "unknown", False),
    ],
)
async def test_what_became_of_held_mail_that_is_not_here_any_more(room: Room, to: str, state: str, final: bool) -> None:
    record = told(NOW, "held", recipients=("x@there.test",), answered="250 2.0.0 Ok: held for review as X")
    room.books.keep(record, HeldChange(record.id, NOW + 5, "held", reason="judged anew", due=NOW + 50))
    room.books.keep(HeldChange(record.id, NOW + 50, to, by="ann", reason="so"))
    found = await room.tell(record.id)
    assert (found.recipients[0].state, found.final) == (state, final)
    held = [event.text for event in found.events if event.kind == "held"]
    assert held[:2] == ["It was held.", "Held on: judged anew."]
    assert held[2].endswith("by ann: so.")


async def test_the_same_message_that_came_again_is_named(room: Room) -> None:
    first = relayed(action="defer", answered="451 4.7.1 OG-LIMIT", message_id="abc@x")
    second = relayed(NOW + 300, message_id="abc@x")
    other = relayed(NOW + 400, message_id="abc@x", sender="somebody@else.test")
    room.books.keep(first, second, other)
    texts = [event.text for event in (await room.tell(first.id)).events]
    assert f"The same message came again as {second.id}: verdict relay, answered 250 2.0.0 Ok: queued as ABC." in texts
    assert not [text for text in texts if other.id in text]
    texts = [event.text for event in (await room.tell(second.id)).events]
    assert f"The same message had come before as {first.id}: verdict defer, answered 451 4.7.1 OG-LIMIT." in texts


async def test_what_is_older_than_the_ledger_keeps_is_said_to_be(room: Room) -> None:
    id_ = new_id(NOW)
    with pytest.raises(DeskError, match=f"nothing is known of message {id_}, .* decisions are kept for 30 days"):
        await room.tell(id_)
    with pytest.raises(DeskError, match="no message m1: that is no id of ours"):
        await room.tell("m1")
    with pytest.raises(DeskError, match="no id of ours"):
        await room.tell("../../etc/passwd")
    room.books.keep(Delivered(id_, NOW, "x@there.test", 250, "2.0.0", "Ok", "192.0.2.1:25"))
    found = await room.tell(id_)
    assert (found.summary, found.received) == ("Delivered.", NOW)
    assert found.unknown == ("What was decided about it is not known any more: decisions are kept for 30 days.",)


async def test_a_report_in_the_queue_has_its_story_too(room: Room) -> None:
    id_ = new_id(NOW)
    report = Entry(id_, NOW, Envelope("", ("a@example.org",)), account="example.org", code="bounce", due=NOW + 5)
    await room.spool.put(report, [CONTENT], "incoming")
    found = await room.tell(id_)
    assert (states(found), found.final) == ({"a@example.org": "trying"}, False)
