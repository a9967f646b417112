"""Events become cases, in whatever order they come and however often."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import case_queries
from outbound_guard.ledger.database import BAD_RECORD, LedgerError
from outbound_guard.ledger.records import CaseCheck, CaseEvent, CaseSubject
from tests.records import BOTH_LONG, Books, books

LEDGERS = BOTH_LONG

EVENTS = (
    CaseEvent(
        id="a",
        case="c1",
        time=1.0,
        what="opened",
        fields={"state": "open", "stage": "verify", "opened": 1.0, "accounts": ["shop.example"]},
        subjects=(CaseSubject("192.0.2.10", "zen.spamhaus.org"),),
    ),
    CaseEvent(id="b", case="c1", time=2.0, what="checked", checks={"ours": CaseCheck("done", "it is")}, by="ann"),
    CaseEvent(id="c", case="c1", time=3.0, what="stage", fields={"stage": "investigate"}),
    CaseEvent(
        id="d",
        case="c1",
        time=4.0,
        what="cleared",
        subjects=(CaseSubject("192.0.2.10", "zen.spamhaus.org", state="clean"),),
        checks={"ours": CaseCheck()},
    ),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(10.0)) as opened:
        opened.ledger.migrate()
        yield opened


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_in_any_order_it_is_the_same_case(ledger: Books, order: tuple[int, ...]) -> None:
    for number in order:
        ledger.keep(EVENTS[number])
        ledger.keep(EVENTS[number])
    (case,) = case_queries.cases(ledger.ledger)
    assert (case.stage, case.state, case.changed, case.accounts) == ("investigate", "open", 4.0, ("shop.example",))
    assert case.listed == ()
    assert [subject.state for subject in case.subjects] == ["clean"]
    assert not case.done("ours")
    assert [event.id for event in case_queries.events(ledger.ledger, "c1")] == ["a", "b", "c", "d"]


def test_what_happened_before_its_opening_came_is_kept_for_it(ledger: Books) -> None:
    ledger.keep(EVENTS[2])
    assert case_queries.cases(ledger.ledger) == []
    assert case_queries.case_one(ledger.ledger, "c1") is None
    ledger.keep(EVENTS[0])
    assert [case.stage for case in case_queries.cases(ledger.ledger)] == ["investigate"]


def test_fields_that_no_column_knows_are_left_out(ledger: Books) -> None:
    ledger.keep(CaseEvent(id="a", case="c1", time=1.0, what="opened", fields={"opened": 1.0, "later": 1, "id": "x"}))
    assert case_queries.case_one(ledger.ledger, "c1") is not None
    assert ledger.scribe.rejected == 0


def test_events_and_how_far_they_go_are_written_together_or_not_at_all(ledger: Books) -> None:
    bad = CaseEvent(id="b", case="c1", time=2.0, what="noted", text={})  # type: ignore[arg-type]
    with pytest.raises((*BAD_RECORD, LedgerError)):
        case_queries.write(ledger.ledger, [EVENTS[0], bad], {"delivery": 7})
    assert case_queries.cases(ledger.ledger) == []
    assert case_queries.progress(ledger.ledger, "delivery") is None
    case_queries.write(ledger.ledger, [EVENTS[0]], {"delivery": 7})
    assert case_queries.progress(ledger.ledger, "delivery") == 7


def test_counts(ledger: Books) -> None:
    ledger.keep(*EVENTS)
    late = {"state": "open", "stage": "watch", "opened": 1.0, "due": 5.0, "reopened": 2}
    ledger.keep(CaseEvent(id="x", case="c2", time=1.0, what="opened", fields=late))
    ledger.keep(CaseEvent(id="y", case="c3", time=1.0, what="opened", fields={"state": "closed", "opened": 1.0}))
    assert case_queries.stages(ledger.ledger, 9.0) == {"investigate": (1, 0), "watch": (1, 1)}
    assert case_queries.opened_counts(ledger.ledger) == (3, 2)
