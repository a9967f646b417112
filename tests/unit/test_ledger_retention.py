"""Each kind of record is kept as long as its setting says, and what is held now stays in any case."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert

from outbound_guard.clock import VirtualClock
from outbound_guard.config.settings import Retention
from outbound_guard.ledger import case_queries, customer_queries, tables
from outbound_guard.ledger.records import (
    Audit,
    BulkChange,
    BulkDone,
    BulkPlaced,
    BulkResult,
    CaseEvent,
    CaseSubject,
    CustomerRelease,
    Delivered,
    HeldChange,
    Record,
    Standing,
)
from outbound_guard.ledger.retention import forget
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0
DAY = 86_400.0
AGES = (5, 15, 25, 45, 500)
"""Days: of each kind there is one record of each age."""
COUNTED = ("decision", "delivery", "held", "held_change", "audit", "standing_history", "listing_history", "case_file")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(NOW)) as found:
        yield found


def fill(opened: Books) -> None:
    for age in AGES:
        time = NOW - age * DAY
        records: tuple[Record, ...] = (
            decision(f"m{age}", received=time),
            Delivered(f"m{age}", time, "x@there.test", 250),
            HeldChange(f"m{age}", time, "released"),
            Audit(time, "ann", "held.release", f"m{age}"),
            Standing(time, "account", f"a{age}.test", "suspended"),
            CaseEvent(
                f"e{age}",
                f"C{age}",
                time,
                "opened",
                fields={"state": "closed", "stage": "closed", "opened": time, "closed": time},
                subjects=(CaseSubject("192.0.2.1", "list.test"),),
            ),
        )
        opened.keep(*records)
        row = {"time": time, "subject": "192.0.2.1", "zone": "list.test", "state": "listed", "codes": "", "reason": ""}
        with opened.ledger.connection() as connection:
            connection.execute(insert(tables.listing_history), [row])


def left(opened: Books) -> dict[str, int]:
    found = {table: opened.count(table) for table in COUNTED}
    return found | {"traffic": opened.sql("SELECT count(*) FROM traffic WHERE account = ''")[0][0]}


ALL = dict.fromkeys((*COUNTED, "traffic"), len(AGES))


@pytest.mark.parametrize(
    ("keep_days", "keep", "expected"),
    [
        # As configured by default: what is about messages for 30 days, the roll-up for 400, everything else for ever.
        (30, Retention(), {"decision": 3, "delivery": 3, "held": 3, "held_change": 3, "traffic": 4}),
        (20, Retention(deliveries=20, held=20, traffic=0), {"decision": 2, "delivery": 2, "held": 2, "held_change": 2}),
        (
            10,
            Retention(deliveries=20, held=30),
            {"decision": 1, "delivery": 2, "held": 3, "held_change": 3, "traffic": 4},
        ),
        # Never for fewer days than the decisions they belong to.
        (
            60,
            Retention(deliveries=1, held=1),
            {"decision": 4, "delivery": 4, "held": 4, "held_change": 4, "traffic": 4},
        ),
        (1000, Retention(deliveries=0, held=0, audit=20, traffic=0), {"audit": 2}),
        (1000, Retention(deliveries=0, held=0, standings=30, traffic=0), {"standing_history": 3}),
        (1000, Retention(deliveries=0, held=0, listings=6, traffic=0), {"listing_history": 1}),
        (1000, Retention(deliveries=0, held=0, cases=40, traffic=0), {"case_file": 3}),
        (1000, Retention(deliveries=0, held=0, traffic=10), {"traffic": 1}),
    ],
)
def test_each_kind_for_its_time(opened: Books, keep_days: int, keep: Retention, expected: dict[str, int]) -> None:
    fill(opened)
    assert left(opened) == ALL
    forget(opened.ledger, NOW, keep_days, keep)
    assert left(opened) == ALL | expected


def test_everything_about_a_case_goes_with_it_and_open_ones_stay(opened: Books) -> None:
    fill(opened)
    opened.keep(
        CaseEvent("e", "COPEN", NOW - 900 * DAY, "opened", fields={"state": "open", "stage": "verify", "opened": 1.0})
    )
    forget(opened.ledger, NOW, 30, Retention(cases=40))
    assert {case.id for case in case_queries.cases(opened.ledger)} == {"C5", "C15", "C25", "COPEN"}
    for table in ("case_event", "case_subject", "case_check"):
        ids = {row[0] for row in opened.sql(f"SELECT case_id FROM {table}")}
        assert ids <= {"C5", "C15", "C25", "COPEN"}
    assert case_queries.events(opened.ledger, "C45") == []
    assert len(case_queries.events(opened.ledger, "C25")) == 1


def test_what_is_held_stays_whatever_its_age(opened: Books) -> None:
    old = NOW - 1000 * DAY
    opened.keep(decision("held", received=old), decision("kept", received=old, action="quarantine", state="quarantine"))
    forget(opened.ledger, NOW, 1, Retention(deliveries=1, held=1))
    found = left(opened)
    assert (found["decision"], found["held"]) == (2, 2)


def test_decisions_about_many_go_with_what_was_held(opened: Books) -> None:
    for age in (25, 35):
        time = NOW - age * DAY
        opened.keep(
            BulkPlaced(f"done{age}", time, "release", ("x", "y"), due=time),
            BulkDone(f"done{age}", time + 1, (BulkResult("x", "done"), BulkResult("y", "gone"))),
            BulkChange(f"done{age}", time + 1, "done"),
            BulkPlaced(f"open{age}", time, "release", ("z",), due=time),
        )
    forget(opened.ledger, NOW, 30, Retention())
    assert {row[0] for row in opened.sql("SELECT id FROM bulk_action")} == {"done25", "open25", "open35"}
    assert {row[0] for row in opened.sql("SELECT bulk FROM bulk_item")} == {"done25", "open25", "open35"}


def test_why_customers_may_release_nothing_goes_and_that_they_may_not_stays(opened: Books) -> None:
    for age in (25, 35):
        for change in ("closed", "opened"):
            account = f"{change}{age}.test"
            opened.keep(CustomerRelease(account=account, time=NOW - age * DAY, change=change, reason="x@there.test"))
    forget(opened.ledger, NOW, 30, Retention())
    assert opened.sql("SELECT account, reason FROM customer_release ORDER BY account") == [
        ("closed25.test", "x@there.test"),
        ("closed35.test", ""),
        ("opened25.test", "x@there.test"),
    ]
    assert customer_queries.closed(opened.ledger, "closed35.test")


def test_forgetting_works_through_many_portions(opened: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbound_guard.ledger.retention.PORTION", 10)
    old = NOW - 900 * DAY
    opened.keep(
        *(Audit(old + n, "ann", "test") for n in range(35)),
        *(decision(f"d{n}", received=old + n * 3600, state="", account=f"a{n}.test") for n in range(35)),
        *(HeldChange(f"x{n}", old + n, "released") for n in range(35)),
    )
    forget(opened.ledger, NOW, 30, Retention(audit=100))
    assert set(left(opened).values()) == {0}
