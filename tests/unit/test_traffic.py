"""The roll-up of traffic counts every decision once, whatever happens to the journal; and who is at risk."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import insert

from outbound_guard.clock import VirtualClock
from outbound_guard.desk.now import traffic
from outbound_guard.ledger import queries, segments, tables, traffic_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.migrations import versions as migrations
from outbound_guard.ledger.records import Standing
from outbound_guard.ledger.traffic_queries import Hour
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

HOUR = 3600.0
NOW = 1_700_000_400.0
"""400 s after a full hour."""
FULL = NOW - NOW % HOUR
FIRST = int(NOW // HOUR)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as found:
        yield found


def test_decisions_are_counted_by_hour_account_and_action(opened: Books) -> None:
    opened.keep(
        decision("m1", received=FULL, recipients=("x@a.test", "X@A.test", "y@a.test"), score=1.0),
        decision("m2", received=FULL + 3599.9, score=9.0),
        decision("m3", received=FULL, action="relay", state="", account="example.com"),
        decision("m4", received=FULL - 0.1, score=-2.0),
    )
    opened.keep(decision("m5", received=FULL + 1, score=4.0))
    # One address that differs in its case only is one recipient.
    assert traffic_queries.by_hour(opened.ledger, 0.0, account="example.org") == [
        Hour(FIRST - 1, "hold", 1, 2, -2.0),
        Hour(FIRST, "hold", 3, 6, 9.0),
    ]
    assert traffic_queries.by_hour(opened.ledger, FULL) == [
        Hour(FIRST, "hold", 3, 6, 9.0),
        Hour(FIRST, "relay", 1, 2, 6.25),
    ]
    assert traffic_queries.by_hour(opened.ledger, 0.0, FULL - 1) == [Hour(FIRST - 1, "hold", 1, 2, -2.0)]
    everyone = {"example.org": {"hold": 3}, "example.com": {"relay": 1}}
    assert traffic_queries.by_account(opened.ledger, NOW) == everyone
    assert queries.counts(opened.ledger, NOW) == everyone
    assert traffic_queries.by_account(opened.ledger, NOW, ["example.com", "nobody"]) == {"example.com": {"relay": 1}}
    assert traffic_queries.by_account(opened.ledger, NOW, []) == {}
    assert traffic_queries.known_since(opened.ledger) == FULL - HOUR


def numbers(opened: Books) -> list[tuple[object, ...]]:
    return opened.sql("SELECT * FROM traffic ORDER BY 1, 2, 3")


def test_a_segment_met_again_and_a_decision_told_again_count_once(opened: Books, tmp_path: Path) -> None:
    for record in (decision("m1"), decision("m1", score=50.0), decision("m2")):
        opened.journal.append(record)
    opened.journal.close()
    (path,) = segments.sealed(opened.journal_dir)
    shutil.copy(path, tmp_path / "copy")
    opened.scribe.once()
    before = numbers(opened)
    assert before == [(0, "", "hold", 2, 4, 6.25), (0, "example.org", "hold", 2, 4, 6.25)]
    shutil.copy(tmp_path / "copy", path)
    opened.scribe.once()
    # As the reconciliation tells it when the record was thought to be lost.
    opened.keep(decision("m2", subject="recovered", score=99.0))
    assert numbers(opened) == before


def test_a_batch_that_is_taken_apart_for_a_bad_record_counts_once(opened: Books) -> None:
    opened.keep(decision("m1"), decision("bad", size=2**70), decision("m2"))
    assert numbers(opened) == [(0, "", "hold", 2, 4, 6.25), (0, "example.org", "hold", 2, 4, 6.25)]


def test_an_account_without_a_name_does_not_count_twice(opened: Books) -> None:
    opened.keep(decision("m1", account=""))
    assert numbers(opened) == [(0, "", "hold", 1, 2, 6.25)]


@pytest.mark.parametrize(("most", "since"), [(200_000, 0), (10, FIRST + 1)])
def test_a_migration_counts_the_newest_whole_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, since: int
) -> None:
    # With 10 the limit falls into the middle of an hour, of which too little would be known.
    monkeypatch.setattr("outbound_guard.ledger.traffic_storing.MOST_AT_FIRST", most)
    steps = AlembicConfig()
    steps.set_main_option("script_location", str(Path(migrations.__file__ or "").parents[1]))
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", writer=True)
    with ledger.connection() as connection:
        steps.attributes["connection"] = connection
        command.upgrade(steps, "0006")
        for n in range(-12, 12):
            row = {column.name: "" for column in tables.decision.columns if column.name not in ("text", "node")} | {
                "id": f"m{n}",
                "received": FULL + n * 600.0,
                "account": "a.test",
                "action": "hold",
                "recipients": '["x@a.test","X@a.test","y@a.test"]',
                "score": float(n),
                "size": 1,
            }
            connection.execute(insert(tables.decision).values(row))
    ledger.migrate()
    found = [(one.hour, one.messages, one.recipients, one.top) for one in traffic_queries.by_hour(ledger, 0.0)]
    ledger.close()
    of_hours = {
        hour: [n for n in range(-12, 12) if (FULL + n * 600.0) // HOUR == hour] for hour in range(FIRST - 2, FIRST + 2)
    }
    assert found == [(hour, len(of), 2 * len(of), max(of)) for hour, of in of_hours.items() if hour >= since]


def test_the_day_and_the_day_before(opened: Books) -> None:
    opened.keep(
        decision("m1", received=NOW),
        decision("m2", received=FULL - 23 * HOUR, action="relay", state=""),
        decision("m3", received=FULL - 23 * HOUR - 1),
        decision("m4", received=FULL - 24 * HOUR),
        decision("m5", received=FULL - 48 * HOUR),
    )
    found = traffic(opened.ledger, NOW)
    assert [column.time for column in found.columns] == [FULL + n * HOUR for n in range(-23, 1)]
    assert found.columns[-1].messages == {"hold": 1}
    assert found.columns[-1].before == 2
    assert found.columns[0].messages == {"relay": 1}
    assert (found.day["hold"], found.day["relay"], found.day_before["hold"]) == (1, 1, 2)
    assert found.recipients == 4


def test_senders_at_risk_are_those_with_the_highest_scores_whatever_was_done(opened: Books) -> None:
    opened.keep(
        decision("r1", received=NOW - 10, sender="calm@a.test", account="a.test", score=2.9, action="relay", state=""),
        decision(
            "r2", received=NOW - 10, sender="watched@a.test", account="a.test", score=3.0, action="relay", state=""
        ),
        decision("r3", received=NOW - 20, sender="held@a.test", account="a.test", score=6.0),
        decision("r4", received=NOW - 10, sender="held@a.test", account="a.test", score=4.0, action="relay", state=""),
        decision("r5", received=NOW - 10, sender="gone@b.test", account="b.test", score=30.0),
        decision("r6", received=NOW - 10, sender="of@whole.test", account="whole.test", score=20.0),
        decision("r7", received=NOW - 90_000, sender="old@a.test", account="a.test", score=50.0),
        decision("r8", received=NOW - 10, sender="free@c.test", account="c.test", score=5.0),
        Standing(1.0, "sender", "gone@b.test", "suspended", account="b.test"),
        Standing(1.0, "account", "whole.test", "suspended", until=NOW + 60),
        Standing(1.0, "sender", "free@c.test", "suspended", account="c.test", until=NOW - 1),
    )
    found = traffic_queries.at_risk(opened.ledger, NOW - 86_400, NOW)
    assert [(one.sender, one.suspended, one.until) for one in found] == [
        ("held@a.test", "", 0.0),
        ("free@c.test", "", 0.0),
        ("watched@a.test", "", 0.0),
        ("gone@b.test", "sender", 0.0),
        ("of@whole.test", "account", NOW + 60),
    ]
    assert (found[0].top, found[0].messages, found[0].relayed, found[0].last) == (6.0, 2, 1, NOW - 10)
    assert len(traffic_queries.at_risk(opened.ledger, NOW - 86_400, NOW, limit=2)) == 2


@pytest.mark.sqlite
def test_who_is_at_risk_is_found_in_the_index_alone(opened: Books) -> None:
    opened.keep(decision("m1"))
    connection = sqlite3.connect(opened.file)
    query = (
        "SELECT sender, max(score) FROM decision WHERE score >= 3 AND received >= 1.0 GROUP BY sender, account, action"
    )
    plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    connection.close()
    assert "USING COVERING INDEX decision_risk" in plan
