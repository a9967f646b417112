"""What makes a notice, and that each is there once: in the transaction of what it tells of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config.notices import KINDS as SETTABLE
from outbound_guard.config.settings import Retention
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.notices import acts
from outbound_guard.ledger import listing_queries, outbox_queries, outbox_sending, storing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.outbox_records import KINDS
from outbound_guard.ledger.outbox_storing import SENDERS
from outbound_guard.ledger.records import AccountEntry, CaseEvent, Notice, NoticeAct, Standing
from outbound_guard.ledger.retention import forget
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG
NOW = 1_764_000_000.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of SQLite with its schema, made once: that takes longer than most of these tests."""
    file = tmp_path_factory.mktemp("empty") / "ledger.sqlite3"
    ledger = Ledger(f"sqlite:///{file}", writer=True)
    ledger.migrate()
    ledger.close()
    return file


@pytest.fixture
def opened(tmp_path: Path, empty: Path, ledger_database: str) -> Iterator[Books]:
    if ledger_database == "sqlite":
        shutil.copy(empty, tmp_path)
    with books(tmp_path, VirtualClock(NOW)) as made:
        made.scribe.once()
        yield made


def standing(change: str, time: float, subject: str = "joe@example.org", **more: Any) -> Standing:
    fields = {"time": time, "scope": "sender", "subject": subject, "change": change, "account": "example.org"}
    return Standing(**fields | more)


def told(opened: Books, now: float = NOW + 1e6) -> list[tuple[str, str, int]]:
    found = outbox_queries.unrouted(opened.ledger, now)
    return [(one.kind, one.sender or one.account or one.subject, one.count) for one in found]


def test_every_kind_that_can_be_chosen_is_one() -> None:
    assert set(SETTABLE) == set(KINDS) - {"test"}


def test_a_suspension_is_told_when_it_begins_and_when_it_ends(opened: Books) -> None:
    opened.keep(standing("suspended", NOW), standing("limited", NOW + 1))
    opened.keep(standing("suspended", NOW + 2, reason="again"))  # By another process, a moment later.
    assert told(opened) == [("suspended", "joe@example.org", 1)]
    opened.keep(standing("resumed", NOW + 3), standing("probation", NOW + 3, until=NOW + 9))
    opened.keep(standing("resumed", NOW + 4))
    assert told(opened)[1:] == [("resumed", "joe@example.org", 1)]
    opened.keep(standing("suspended", NOW + 5))
    assert len(told(opened)) == 3


def test_what_is_overtaken_is_not_told(opened: Books) -> None:
    """A relay's journal may come after that of the person who has already resumed."""
    opened.keep(standing("resumed", NOW + 5))
    opened.keep(standing("suspended", NOW))
    assert told(opened) == []


def test_a_suspension_that_ends_by_itself_is_told_at_its_time(opened: Books) -> None:
    opened.keep(standing("suspended", NOW, until=NOW + 3600))
    assert told(opened, NOW) == [("suspended", "joe@example.org", 1)]
    (_, end) = outbox_queries.unrouted(opened.ledger, NOW + 3600)
    assert (end.kind, end.due) == ("resumed", NOW + 3600)
    assert outbox_queries.still_suspended(opened.ledger, end)
    opened.keep(standing("resumed", NOW + 60))
    assert not outbox_queries.still_suspended(opened.ledger, end)
    opened.keep(standing("suspended", NOW + 3700, until=NOW + 9000))
    assert len([one for one in told(opened) if one[0] == "suspended"]) == 2


def test_the_account_of_a_sender_that_never_sent_is_the_directorys(opened: Books) -> None:
    opened.keep(AccountEntry(NOW, "customer-7", senders=("*@example.org",)))
    opened.keep(standing("suspended", NOW, account=""))
    assert outbox_queries.unrouted(opened.ledger, NOW)[0].account == "customer-7"


def test_held_mail_is_one_notice_an_hour_and_sender(opened: Books) -> None:
    hour = NOW - NOW % 3600
    opened.keep(*(decision(f"m{n}", received=hour + n) for n in range(30)))
    opened.keep(decision("m1", received=hour + 1))  # The same decision again is no second message.
    opened.keep(decision("q1", received=hour + 60, state="quarantine"))
    opened.keep(decision("other", received=hour + 3600), decision("r1", state="", action="relay"))
    assert told(opened) == [
        ("held", "a@example.org", 30),
        ("quarantined", "a@example.org", 1),
        ("held", "a@example.org", 1),
    ]
    first = outbox_queries.unrouted(opened.ledger, NOW + 1e6)[0]
    assert (first.subject, first.time, first.last) == ("m0", hour, hour + 29)
    assert "x@example.net" not in str(first), "who it was for is nobody's business here"


def test_who_calls_itself_something_else_each_time_makes_no_more_notices(opened: Books) -> None:
    hour = NOW - NOW % 3600
    opened.keep(*(decision(f"a{n}", received=hour + n, sender=f"s{n}@example.org") for n in range(15)))
    opened.keep(*(decision(f"b{n}", received=hour + 60 + n, sender=f"t{n}@example.org") for n in range(300)))
    opened.keep(decision("c", received=hour + 999, sender="s3@example.org"))
    opened.keep(decision("d", received=hour + 999, sender="x@other.test", account="other.test"))
    opened.keep(decision("e", received=hour + 3600, sender="t299@example.org"))
    found = told(opened)
    assert len(found) == SENDERS + 3
    assert ("held", "example.org", 315 - SENDERS) in found, "the rest is one notice, which names nobody"
    assert ("held", "s3@example.org", 2) in found
    assert ("held", "x@other.test", 1) in found
    assert ("held", "t299@example.org", 1) in found
    # Who is not named may be any mailbox of the account: none of them is written to.
    assert "example.org" in outbox_queries.suspects(opened.ledger, "example.org", hour)
    assert "other.test" not in outbox_queries.suspects(opened.ledger, "other.test", hour)


def test_cases_that_open_close_and_need_a_step(opened: Books) -> None:
    fields = {"opened": NOW, "state": "open", "title": "x"}
    opened.keep(CaseEvent("e1", "K1", NOW, "opened", text="listed\nmore", fields=fields))
    opened.keep(CaseEvent("e2", "K1", NOW + 1, "noted"), CaseEvent("e3", "K1", NOW + 2, "reminder"))
    opened.keep(CaseEvent("e1", "K1", NOW, "opened", fields=fields), CaseEvent("e4", "K1", NOW + 3, "closed"))
    assert [one[:2] for one in told(opened)] == [("case_opened", "K1"), ("case_step", "K1"), ("case_closed", "K1")]


def test_listings_of_our_addresses(opened: Books) -> None:
    row = {
        "time": NOW,
        "subject": "192.0.2.1",
        "zone": "z.test",
        "state": "listed",
        "codes": "127.0.0.2",
        "reason": "r",
    }
    for state in ("listed", "unknown", "clean"):
        history = [row | {"state": state}]
        listing_queries.keep(opened.ledger, [("192.0.2.1", "z.test")], lambda _, history=history: ([], history))
    assert [one[:2] for one in told(opened)] == [("address_listed", "192.0.2.1"), ("address_clean", "192.0.2.1")]


def test_a_notice_of_its_own_is_there_once_whatever_its_key(opened: Books) -> None:
    long = "key:" + "x" * 5000
    opened.keep(Notice(long, NOW, "backlog", subject="here"), Notice(long, NOW + 9, "backlog", subject="here"))
    opened.keep(Notice(long, NOW + 5, "backlog", subject="here"), Notice(long + "y", NOW, "backlog", subject="there"))
    assert told(opened) == [("backlog", "here", 3), ("backlog", "there", 1)]
    assert outbox_queries.unrouted(opened.ledger, NOW)[0].last == NOW + 9


def test_what_fails_is_not_told_either(opened: Books) -> None:
    """The notice shares the transaction of its fact: both are there, or none."""
    broken = Notice("k", NOW, "backlog", data={"no": object()})
    with pytest.raises(TypeError), opened.ledger.connection() as connection:
        storing.store(connection, [standing("suspended", NOW), broken])
    assert told(opened) == []
    assert opened.count("standing") == 0


def sent(opened: Books, state: str, created: float) -> None:
    (notice,) = outbox_queries.unrouted(opened.ledger, NOW + 1e9)
    way = outbox_sending.Way(notice=notice.serial, route="hook", created=created, due=created, expires=created + 9)
    outbox_sending.route(opened.ledger, [notice.serial], [way, way])
    (sending,) = outbox_queries.listing(opened.ledger, limit=1)
    assert outbox_sending.claim(opened.ledger, [sending.serial], "", f"L{notice.serial}", created, created + 1)
    outbox_sending.note(opened.ledger, [sending.serial], state=state, tried=created, attempts=1)


def test_what_was_told_is_forgotten_and_what_waits_is_not(opened: Books) -> None:
    for number, state in enumerate(("sent", "failed", "waiting")):
        opened.keep(Notice(f"k{number}", NOW, "backlog"))
        sent(opened, state, NOW)
    opened.keep(Notice("late", NOW, "backlog", due=NOW + 1e8))
    forget(opened.ledger, NOW + 29 * 86_400, 1, Retention())
    assert (opened.count("outbox"), opened.count("outbox_sending")) == (4, 3)
    forget(opened.ledger, NOW + 31 * 86_400, 1, Retention())
    assert (opened.count("outbox"), opened.count("outbox_sending")) == (2, 1)
    assert [one.state for one in outbox_queries.listing(opened.ledger)] == ["waiting"]


def test_a_letter_is_claimed_once(opened: Books) -> None:
    opened.keep(Notice("k0", NOW, "backlog"), Notice("k1", NOW, "backlog"))
    serials = [one.serial for one in outbox_queries.unrouted(opened.ledger, NOW)]
    ways = [
        outbox_sending.Way(notice=one, route="hook", created=NOW, due=NOW + 20 * one, expires=NOW + 9, grouped="g")
        for one in serials
    ]
    outbox_sending.route(opened.ledger, serials, ways)
    ids = [one.serial for one in outbox_queries.listing(opened.ledger)]

    def claim(which: list[int], old: str, letter: str, now: float) -> bool:
        return outbox_sending.claim(opened.ledger, which, old, letter, now, now + 120)

    assert claim(ids[:1], "", "A", NOW)
    assert not claim(ids, "", "B", NOW), "one of them is another's"
    assert {one.letter for one in outbox_queries.listing(opened.ledger)} == {"A", ""}, "and nothing was changed"
    assert not claim(ids[:1], "A", "A", NOW + 119), "it is being tried"
    assert claim(ids[:1], "A", "A", NOW + 120)
    opened.keep(NoticeAct(NOW + 130, "give_up", (ids[1],)))
    assert not claim(ids[1:], "", "C", NOW + 130)


@pytest.mark.sqlite
def test_what_is_asked_all_the_time_reads_no_whole_table(opened: Books) -> None:
    opened.keep(Notice("k", NOW, "backlog"))
    sent(opened, "failed", NOW)
    asked: list[str] = []
    with opened.ledger.connection() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
    outbox_queries.unrouted(opened.ledger, NOW)
    outbox_queries.due_routes(opened.ledger, NOW)
    outbox_queries.waiting(opened.ledger, NOW)
    outbox_queries.last_of_group(opened.ledger, "hook", "account:x")
    opened.keep(NoticeAct(NOW + 5, "retry", (1,)))
    driver.set_trace_callback(None)
    asked = [one for one in asked if "outbox" in one and one.startswith(("SELECT", "UPDATE"))]
    assert len(asked) == 7
    for one in asked:
        plan = [row[3] for row in opened.sql(f"EXPLAIN QUERY PLAN {one}".replace("%", "%%"))]
        assert not [step for step in plan if step.startswith("SCAN")], (one, plan)


async def test_many_notices_are_decided_about_with_one_question(opened: Books) -> None:
    opened.keep(*(Notice(f"k{number}", NOW, "backlog") for number in range(600)))
    while notices := [one.serial for one in outbox_queries.unrouted(opened.ledger, NOW)]:
        ways = [outbox_sending.Way(notice=n, route="hook", created=NOW, due=NOW, expires=NOW + 9) for n in notices]
        outbox_sending.route(opened.ledger, notices, ways)

    class Counted(Ledger):
        asked = 0

        def connection(self, **how: bool) -> Any:
            self.asked += 1
            return super().connection(**how)

    reader = Counted(opened.url)
    ids = [one.serial for one in outbox_queries.listing(opened.ledger, limit=1000)]
    done = await acts.decide(reader, opened.journal, VirtualClock(NOW), ids, "give_up", by="ann")
    assert [one.serial for one in done] == ids
    assert (len(ids), reader.asked) == (600, 1)
    with pytest.raises(DeskError, match="there is no notice 4000"):
        await acts.decide(reader, opened.journal, VirtualClock(NOW), [ids[0], 4000, -1], "retry", by="ann")
    reader.close()
    opened.scribe.once()
    opened.journal.close()
    opened.scribe.once()
    assert {one.state for one in outbox_queries.listing(opened.ledger, limit=1000)} == {"failed"}


def test_what_people_decide_about_a_letter_holds_for_all_of_it(opened: Books) -> None:
    for number in range(2):
        opened.keep(Notice(f"k{number}", NOW, "backlog"))
        sent(opened, "failed", NOW)
    ids = [one.serial for one in outbox_queries.listing(opened.ledger)]
    with opened.ledger.connection() as connection:
        connection.exec_driver_sql("UPDATE outbox_sending SET letter = 'together'")
    opened.keep(NoticeAct(NOW + 5, "retry", (ids[0],)))
    assert [(one.state, one.due, one.attempts) for one in outbox_queries.listing(opened.ledger)] == [
        ("waiting", NOW + 5, 0)
    ] * 2
    opened.keep(NoticeAct(NOW + 6, "give_up", (ids[1],)))
    assert {(one.state, one.answer) for one in outbox_queries.listing(opened.ledger)} == {
        ("failed", "given up by a person")
    }
    outbox_sending.note(opened.ledger, ids, state="sent")
    assert outbox_queries.one(opened.ledger, ids[0]).state == "failed", "what a person did meanwhile stays"  # type: ignore[union-attr]
