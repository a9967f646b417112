"""The audit is searched by who, what, to what, when and by words; as CSV it holds nothing a spreadsheet computes."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.desk import DeskError
from outbound_guard.desk.audit import as_csv, audit_all, audit_search, place_of, place_text
from outbound_guard.ledger import audit_queries
from outbound_guard.ledger.audit_queries import Search
from outbound_guard.ledger.records import Audit
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

ENTRIES = (
    Audit(10.0, "console:ann", "held.release", "m1", "asked him"),
    Audit(20.0, "console:ann", "held.delete", "m2", "a fraud, 100 % sure"),
    Audit(30.0, "cli:bob", "account.suspended", "shop.test", "=cmd|' /C calc'!A0"),
    Audit(30.0, "cli:bob", "sender.suspended", "m@shop.test", "a_b"),
    Audit(40.0, "token:bot", "case.note", "C1", "Héllo\nthere"),
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(1_700_000_000.0)) as found:
        found.keep(*ENTRIES)
        yield found


@pytest.mark.parametrize(
    ("wanted", "subjects"),
    [
        ({}, ["C1", "m@shop.test", "shop.test", "m2", "m1"]),
        ({"by": "console:ann"}, ["m2", "m1"]),
        ({"by": "console:*"}, ["m2", "m1"]),
        ({"by": "c*"}, ["m@shop.test", "shop.test", "m2", "m1"]),
        ({"by": "*"}, ["C1", "m@shop.test", "shop.test", "m2", "m1"]),
        ({"by": "console"}, []),
        ({"what": "held.*"}, ["m2", "m1"]),
        ({"what": "held.release"}, ["m1"]),
        ({"subject": "shop.test"}, ["shop.test"]),
        ({"subject": "m*"}, ["m@shop.test", "m2", "m1"]),
        ({"text": "SHOP"}, ["m@shop.test", "shop.test"]),
        ({"text": "100 %"}, ["m2"]),
        ({"text": "%"}, ["m2"]),
        ({"text": "_"}, ["m@shop.test"]),
        ({"since": 20.0, "before": 40.0}, ["m@shop.test", "shop.test", "m2"]),
        ({"by": "cli:bob", "what": "account.*", "text": "calc", "since": 1.0}, ["shop.test"]),
    ],
)
async def test_entries_are_found_newest_first(opened: Books, wanted: dict[str, Any], subjects: list[str]) -> None:
    found = await audit_search(opened.ledger, Search(**wanted))
    assert [entry.subject for entry in found.entries] == subjects
    assert (found.more, found.looked_back_to) == (None, 0.0)


@pytest.mark.parametrize("text", ["", "e"])
async def test_pages_follow_each_other_without_a_gap(opened: Books, text: str) -> None:
    opened.keep(*(Audit(30.0, "system", "test", f"e{n}") for n in range(7)))
    seen: list[str] = []
    place, pages = "", 0
    while pages == 0 or place:
        found = await audit_search(opened.ledger, Search(after=place_of(place), limit=3, what="test", text=text))
        seen += [entry.subject for entry in found.entries]
        place, pages = place_text(found.more), pages + 1
    assert (pages, seen) == (3, [f"e{n}" for n in reversed(range(7))])


async def test_a_search_that_ends_early_says_how_far_it_looked(opened: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_queries, "SCAN", 2)
    found = await audit_search(opened.ledger, Search(text="asked"))
    assert (found.entries, found.looked_back_to) == ((), 30.0)
    assert found.more is not None
    found = await audit_search(opened.ledger, Search(text="asked", after=found.more))
    assert (found.entries, found.looked_back_to) == ((), 20.0)
    assert found.more is not None
    found = await audit_search(opened.ledger, Search(text="asked", after=found.more))
    assert ([entry.subject for entry in found.entries], found.more) == (["m1"], None)


@pytest.mark.parametrize("text", ["x", "1-", "-1-1", "nan-1", "1-1.5", "1-99999999999999999999"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DeskError):
        place_of(text)


async def test_all_entries_as_csv(opened: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbound_guard.desk.audit._PORTION", 2)
    portions = [portion async for portion in audit_all(opened.ledger, Search())]
    assert [len(portion) for portion in portions] == [2, 2, 1]
    text = "".join(as_csv(portion, heading=number == 0) for number, portion in enumerate(portions))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["time", "by", "what", "subject", "detail"]
    assert rows[1] == ["1970-01-01T00:00:40+00:00", "token:bot", "case.note", "C1", "Héllo\nthere"]
    # A spreadsheet would compute what begins like a formula.
    assert rows[3][4] == "'=cmd|' /C calc'!A0"
    assert len(rows) == 1 + len(ENTRIES)
    portions = [portion async for portion in audit_all(opened.ledger, Search(), most=3)]
    assert [len(portion) for portion in portions] == [2, 1]


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("1", "audit_time"),
        ("by = 'x'", "audit_by"),
        ("what = 'x'", "audit_what"),
        ("subject = 'x'", "audit_subject"),
    ],
)
@pytest.mark.sqlite
def test_each_way_has_its_index(opened: Books, where: str, index: str) -> None:
    connection = sqlite3.connect(opened.file)
    query = f"SELECT * FROM audit WHERE {where} ORDER BY time DESC, serial DESC LIMIT 9"
    plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    connection.close()
    assert f"INDEX {index}" in plan
