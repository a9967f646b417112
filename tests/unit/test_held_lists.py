"""Lists of held mail: what is searched is found, whatever it is written with; sorted, paged and grouped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import bulk_queries, held_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_queries import Search
from outbound_guard.ledger.records import HeldChange
from outbound_guard.mail import Signal
from tests.records import BOTH_LONG, books, decision

LEDGERS = BOTH_LONG

ONE, TWO = f"{1:016x}", f"{2:016x}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with books(tmp_path, VirtualClock(1_700_000_000.0)) as opened:
        opened.keep(
            decision("m1", received=10.0, subject="Straße 50%", text=ONE, score=3.0, size=10),
            decision("m2", received=20.0, subject="a_b", text=ONE, score=9.0, sender="b@example.org", size=30),
            decision("m3", received=30.0, subject="STRASSE", text=TWO, score=5.0, account="z.example", size=20),
            decision("m4", received=40.0, subject="x", text="", score=4.0, state="quarantine", action="quarantine"),
            decision("m5", received=50.0, subject="gone", text=ONE, signals=(Signal("rate", 1.0, "r"),)),
            decision("m6", received=60.0, subject="delivered", text=ONE, action="relay", state=""),
            HeldChange(id="m5", time=60.0, to="released", by="console:ann", reason="seen"),
        )
        yield opened.ledger


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ({}, "m4 m3 m2 m1"),
        ({"state": "held"}, "m3 m2 m1"),
        ({"state": "quarantine"}, "m4"),
        ({"state": "closed"}, "m5"),
        ({"state": "released"}, "m5"),
        ({"state": "deleted"}, ""),
        ({"words": "strasse"}, "m3 m1"),
        ({"words": "50%"}, "m1"),
        ({"words": "a_b"}, "m2"),
        ({"words": "a%b"}, ""),
        ({"words": "B@EXAMPLE.org a_b"}, "m2"),
        ({"words": "y@example.net"}, "m4 m3 m2 m1"),
        ({"words": "\\"}, ""),
        ({"recipient": "Y@Example.net"}, "m4 m3 m2 m1"),
        ({"recipient": "y@example"}, ""),
        ({"account": "z.example"}, "m3"),
        ({"sender": "b@example.org"}, "m2"),
        ({"text": ONE}, "m2 m1"),
        ({"action": "quarantine"}, "m4"),
        ({"signal": "rate"}, "m4 m3 m2 m1"),
        ({"signal": "rat"}, ""),
        ({"signal": "from_address"}, ""),
        ({"score_from": 4.0, "score_to": 5.0}, "m4 m3"),
        ({"score_from": 0.0, "score_to": 0.0}, ""),
        ({"since": 20.0, "before": 40.0}, "m3 m2"),
    ],
)
def test_search(ledger: Ledger, search: dict[str, Any], ids: str) -> None:
    wanted = Search(**search)
    assert [row.id for row in held_queries.page(ledger, wanted)] == ids.split()
    assert held_queries.count(ledger, wanted) == len(ids.split())
    assert bulk_queries.summary(ledger, wanted).number == len(set(ids.split()) - {"m5"})


@pytest.mark.parametrize(
    ("sort", "ids"),
    [("received", "m1 m2 m3 m4"), ("score", "m1 m4 m3 m2"), ("size", "m4 m1 m3 m2"), ("account", "m4 m2 m1 m3")],
)
@pytest.mark.parametrize("words", ["", "example"])
def test_sort_and_pages(ledger: Ledger, sort: Any, ids: str, words: str) -> None:
    search = Search(words=words)
    pages = [
        row.id
        for offset in (0, 3)
        for row in held_queries.page(ledger, search, sort=sort, down=False, offset=offset, limit=3)
    ]
    assert pages == ids.split()
    down = [row.id for row in held_queries.page(ledger, search, sort=sort)]
    assert down == ids.split()[::-1] if sort != "account" else down[0] == "m3"


@pytest.mark.parametrize("words", ["", "example"])
def test_groups(ledger: Ledger, words: str) -> None:
    found, total = held_queries.groups(ledger, Search(words=words), "text")
    assert total == 2
    assert (found[0].key, found[0].number, found[0].senders, found[0].accounts) == (ONE, 2, 2, 1)
    assert (found[0].first, found[0].last, found[0].top_score, found[0].octets) == (10.0, 20.0, 9.0, 40)
    assert found[0].subject == "a_b"
    accounts, total = held_queries.groups(ledger, Search(words=words), "account", limit=1)
    assert ([group.key for group in accounts], total) == (["example.org"], 2)
    assert held_queries.groups(ledger, Search(words="nothing"), "sender") == ([], 0)


def test_the_same_text_whatever_became_of_it(ledger: Ledger) -> None:
    found = held_queries.similar(ledger, "m1", ONE)
    assert [(one.id, one.action, one.state) for one in found] == [
        ("m6", "relay", ""),
        ("m5", "hold", "released"),
        ("m2", "hold", "held"),
    ]
    assert held_queries.same_text(ledger, ONE) == {"hold": 3, "relay": 1}
    assert held_queries.similar(ledger, "m4", "") == []


def test_what_restricts_nothing_is_empty() -> None:
    assert Search().empty
    assert Search(before=5.0).empty
    assert not Search(score_from=0.0).empty
    assert not Search(state="held").empty
