"""Accounts in the ledger: who was seen, the list in its orders, entries, and nothing left of an erased one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, select

from outbound_guard.clock import VirtualClock
from outbound_guard.config.settings import Retention
from outbound_guard.ledger import account_erasing as erasing
from outbound_guard.ledger import account_one_queries as one
from outbound_guard.ledger import account_queries, case_queries, directory_queries, retention, tables
from outbound_guard.ledger.account_queries import AccountFilters
from outbound_guard.ledger.records import (
    AccountEntry,
    Audit,
    BulkChange,
    BulkPlaced,
    CaseEvent,
    ClassChange,
    CustomerAnswer,
    CustomerLink,
    CustomerRelease,
    Delivered,
    Erasure,
    Feedback,
    HeldChange,
    Note,
    Standing,
    Suppression,
    WeightChange,
)
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

NOW = 1_700_000_000.0


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as opened:
        yield opened


def sent(id_: str, account: str, time: float = NOW - 60, **other: Any) -> Any:
    fields = {"received": time, "account": account, "sender": f"x@{account}", "action": "relay", "state": ""}
    return decision(id_, **(fields | other))


def stands(change: str, subject: str, scope: str = "account", **other: Any) -> Standing:
    return Standing(**({"time": NOW, "scope": scope, "subject": subject, "change": change} | other))


def listed(opened: Books, **filters: Any) -> tuple[list[str], int]:
    rows, total = account_queries.account_page(opened.ledger, AccountFilters(**filters), NOW)
    return [row.account for row in rows], total


def fill(opened: Books) -> None:
    opened.keep(
        *[sent(f"a{n}", "alpha.test", NOW - 100 * n) for n in range(3)],
        sent("b1", "beta.test", NOW - 30 * 3600),
        *[sent(f"c{n}", "gamma.test", action="hold", state="held") for n in range(2)],
        AccountEntry(
            NOW, "delta", name="Ünder 100% Co", contact="it@delta.example", senders=("*@delta.test", "w_b1/7")
        ),
        stands("suspended", "beta.test"),
        stands("suspended", "y@alpha.test", "sender", account="alpha.test"),
        stands("limited", "epsilon", limits={"messages_per_day": 3}),
        stands("exempted", "gamma.test", until=NOW - 1),
    )


@pytest.mark.parametrize(
    ("filters", "expected", "total"),
    [
        ({}, ["alpha.test", "beta.test", "delta", "epsilon", "gamma.test"], 5),
        ({"limit": 2, "offset": 2}, ["delta", "epsilon"], 5),
        ({"sort": "messages"}, ["alpha.test", "gamma.test", "beta.test", "delta", "epsilon"], 5),
        ({"sort": "messages", "limit": 2, "offset": 1}, ["gamma.test", "beta.test"], 5),
        ({"sort": "messages", "limit": 2, "offset": 3}, ["delta", "epsilon"], 5),
        ({"sort": "held", "limit": 1}, ["gamma.test"], 5),
        ({"sort": "state", "limit": 3}, ["beta.test", "alpha.test", "epsilon"], 5),
        ({"sort": "last", "limit": 0}, ["alpha.test", "beta.test", "delta", "epsilon", "gamma.test"], 5),
        ({"state": "suspended"}, ["beta.test"], 1),
        ({"state": "senders"}, ["alpha.test"], 1),
        ({"state": "limited"}, ["epsilon"], 1),
        ({"state": "exempt"}, [], 0),
        ({"state": "held", "sort": "messages"}, ["gamma.test"], 1),
        ({"search": "ALPHA"}, ["alpha.test"], 1),
        ({"search": "100%"}, ["delta"], 1),
        ({"search": "%"}, ["delta"], 1),
        ({"search": "it@delta"}, ["delta"], 1),
        ({"search": "w_b1"}, ["delta"], 1),
        ({"search": "wxb1"}, [], 0),
        ({"search": "anybody@delta.test"}, ["delta"], 1),
        ({"search": "x@gam"}, ["gamma.test"], 1),
        ({"search": "test", "sort": "messages", "limit": 1, "offset": 1}, ["gamma.test"], 4),
        ({"search": "test", "offset": 9}, [], 4),
    ],
)
def test_the_list(opened: Books, filters: dict[str, Any], expected: list[str], total: int) -> None:
    fill(opened)
    assert listed(opened, **filters) == (expected, total)


def test_what_a_line_says(opened: Books) -> None:
    fill(opened)
    rows, _ = account_queries.account_page(opened.ledger, AccountFilters(limit=0), NOW)
    found = {row.account: row for row in rows}
    assert found["alpha.test"].day == {"relay": 3}
    assert found["alpha.test"].senders_suspended == 1
    assert found["beta.test"].suspended
    assert found["beta.test"].day == {}
    assert found["gamma.test"].held == 2
    assert not found["gamma.test"].exempt
    assert (found["delta"].name, found["delta"].entered, found["alpha.test"].entered) == ("Ünder 100% Co", True, False)


def test_senders_with_a_standing_of_their_own(opened: Books) -> None:
    fill(opened)
    rows, total = one.senders(opened.ledger, "alpha.test", NOW)
    assert [(row.sender, row.standing) for row in rows] == [("y@alpha.test", ("suspended",)), ("x@alpha.test", ())]
    assert total == 2
    assert [row.sender for row in one.senders(opened.ledger, "alpha.test", NOW, search="X@")[0]] == ["x@alpha.test"]
    assert one.account_of_sender(opened.ledger, "x@alpha.test") == "alpha.test"
    assert one.account_of_sender(opened.ledger, "z@alpha.test") is None


def test_entries_change_in_their_order(opened: Books) -> None:
    def entry(**more: Any) -> AccountEntry:
        return AccountEntry(NOW, "c1", **more)

    def now() -> tuple[Any, list[str]]:
        found = directory_queries.accounts(opened.ledger, "c1").get("c1")
        return found and (found["name"], found["contact"]), directory_queries.senders_of(opened.ledger, "c1")

    opened.keep(
        entry(name="One", contact="a@b.test", senders=("p1", "p2")), entry(gone=("p1",)), entry(senders=("p3",))
    )
    assert now() == (("One", "a@b.test"), ["p2", "p3"])
    opened.keep(entry(emptied=("contact",), gone=("p2",)), entry(senders=("p2",)))
    assert now() == (("One", ""), ["p2", "p3"])
    # What belongs to somebody else is not taken away.
    opened.keep(AccountEntry(NOW, "c2", senders=("p4",)), entry(gone=("p4",)))
    assert directory_queries.senders_of(opened.ledger, "c2") == ["p4"]
    before = directory_queries.directory_revision(opened.ledger)
    opened.keep(entry(removed=True))
    assert now() == (None, [])
    assert directory_queries.directory_revision(opened.ledger) > before
    opened.keep(entry(removed=True), entry(name="Again"))
    assert now() == (("Again", ""), [])


def test_who_was_seen_is_forgotten_unless_people_have_decided(opened: Books) -> None:
    fill(opened)
    opened.keep(sent("z1", "idle.test"))
    later = NOW + 40 * 86400
    retention.forget(opened.ledger, later, 30, Retention())
    # The last has held mail, and what is held is kept.
    assert listed(opened)[0] == ["alpha.test", "beta.test", "delta", "epsilon", "gamma.test"]
    assert one.sender_names(opened.ledger, "idle.test") == []


SECRET = ("forget.me", "anna@forget.me", "their secret", "Mr Forget", "owner@forget.example", "to-whom@there.test")


def remember(opened: Books) -> None:
    """An account with something about it everywhere, and another one that must stay as it is."""
    message = {"sender": "anna@forget.me", "subject": "their secret", "recipients": ("to-whom@there.test",)}
    opened.keep(
        *[sent(f"m{n}", "forget.me", **message) for n in range(3)],
        sent("m4", "forget.me", action="hold", state="held", mail_from="anna@forget.me", **message),
        sent("m5", "forget.me", NOW + 100, **message),
        Delivered("m1", NOW, "to-whom@there.test", 550, text="no to-whom@there.test"),
        Delivered("r1", NOW, "anna@forget.me", 250, about="m1"),
        HeldChange("m4", NOW - 30, "quarantine", by="ann", reason="anna@forget.me again"),
        AccountEntry(NOW - 5, "forget.me", name="Mr Forget", contact="owner@forget.example", senders=("*@forget.me",)),
        stands("suspended", "anna@forget.me", "sender", account="forget.me", reason="anna@forget.me was stolen"),
        stands("limited", "forget.me", limits={"messages_per_day": 2}),
        Note("n1", NOW, "account", "forget.me", "Mr Forget called", "forget.me", "ann"),
        Audit(NOW, "ann", "sender.suspended", "anna@forget.me", "anna@forget.me was stolen"),
        Audit(NOW, "ann", "held.release", "m4", "their secret"),
        Audit(NOW, "ann", "held.bulk", "b1", "all of forget.me"),
        WeightChange(NOW, "content", "learned", 1.0, 1.1, "ann", "x", "m1", "honest", "anna@forget.me", "abcd"),
        CaseEvent(
            "e1",
            "K1",
            NOW,
            "opened",
            text="from forget.me and unforget.me",
            fields={"opened": NOW, "accounts": ["forget.me", "kept.test"], "title": "x", "state": "open"},
        ),
        Feedback("f1", NOW, "complaint", account="forget.me", sender="anna@forget.me", recipient="to-whom@there.test"),
        Suppression(NOW, "forget.me", "to-whom@there.test", "added"),
        ClassChange(NOW, "forget.me", "anna@forget.me", "new", "1 calm message of anna@forget.me"),
        CustomerLink(id="l" * 16, time=NOW, what="made", account="forget.me", by="ann", hash="h", expires=NOW + 9),
        CustomerAnswer(link="l" * 16, sender="anna@forget.me", account="forget.me", time=NOW, answer="me"),
        CustomerRelease(account="forget.me", time=NOW, change="closed", reason="anna@forget.me offended"),
        BulkPlaced("b2", NOW, "release", ("m4",), by="customer:forget.me", due=NOW + 30, meant="1 of anna@forget.me"),
        BulkChange("b2", NOW + 1, "undone", by="customer:forget.me"),
        Audit(NOW, "customer:forget.me", "bulk.release", "b2", "1 messages"),
        Audit(NOW, "customer:kept.test", "bulk.release", "b3", "1 messages"),
        Audit(NOW, "console:forget.me", "bulk.release", "b4", "somebody at the desk, who is called so too"),
        Erasure("er1", NOW + 1, "forget.me", "ben"),
        sent("k1", "kept.test", sender="k@kept.test", subject="mine"),
        stands("suspended", "kept.test"),
        Audit(NOW, "ann", "account.suspended", "kept.test", "kept"),
    )


def everywhere(opened: Books) -> str:
    """All texts of all tables."""
    texts: list[str] = []
    with opened.ledger.connection() as connection:
        for table in tables.metadata.sorted_tables:
            columns = [column for column in table.columns if isinstance(column.type, String)]
            if columns:
                texts += [
                    " ".join(f"{table.name}.{c.name}={v}" for c, v in zip(columns, row, strict=True))
                    for row in connection.execute(select(*columns))
                ]
    return "\n".join(texts)


def test_no_table_is_forgotten() -> None:
    with_somebody = {
        table.name for table in tables.metadata.sorted_tables if {"account", "sender"} & set(table.columns.keys())
    }
    assert with_somebody == erasing.WHOSE


def erase(opened: Books, *, keep: bool = False, before: float = NOW + 50) -> dict[str, int]:
    (order,) = erasing.orders(opened.ledger)
    messages = erasing.erase_messages(opened.ledger, order.account, before)
    counts = erasing.erase_names(opened.ledger, order.account, order.id, before, keep_suspension=keep)
    return {"messages": messages, **counts}


def test_nothing_is_left_of_an_erased_account(opened: Books) -> None:
    remember(opened)
    opened.scribe.once()
    before = everywhere(opened)
    assert all(text in before for text in SECRET)
    counts = erase(opened, before=NOW + 200)
    assert counts["messages"] == 5
    (order,) = erasing.orders(opened.ledger)
    done = erasing.Order(**{**{n: getattr(order, n) for n in order.__struct_fields__}, "account": "", "state": "done"})
    erasing.note_progress(opened.ledger, done)
    after = everywhere(opened)
    others = re.compile("unforget.me|console:forget.me")
    assert [text for text in SECRET if text in others.sub("", after)] == []
    for by in (
        "audit.by=customer:er1",
        "bulk_action.by=customer:er1",
        "audit.by=customer:kept.test",
        "console:forget.me",
    ):
        assert by in after
    # Who did what stays, and what is somebody else's.
    assert "audit.by=ann audit.what=sender.suspended audit.subject=er1" in after
    assert "unforget.me" in after
    case = case_queries.case_one(opened.ledger, "K1")
    assert case is not None
    assert case.accounts == ("er1", "kept.test")
    assert listed(opened)[0] == ["kept.test"]
    assert [s.subject for s in directory_queries.standings(opened.ledger)] == ["kept.test"]
    assert erasing.orders(opened.ledger) == []


def test_an_erasure_can_be_run_again_and_spares_what_came_later(opened: Books) -> None:
    remember(opened)
    assert erase(opened)["messages"] == 4
    assert erase(opened)["messages"] == 0
    assert one.decision_count(opened.ledger, "forget.me") == 1
    assert erase(opened, before=NOW + 200)["messages"] == 1


def test_a_suspension_may_stay(opened: Books) -> None:
    remember(opened)
    erase(opened, keep=True)
    (standing,) = directory_queries.standings(opened.ledger, "forget.me")
    assert (standing.subject, standing.change, standing.reason) == (
        "anna@forget.me",
        "suspended",
        "kept after an erasure",
    )
    assert "forget.me" in listed(opened)[0]


@pytest.mark.sqlite
def test_what_was_deleted_is_not_in_the_file(opened: Books) -> None:
    remember(opened)
    erase(opened, before=NOW + 200)
    assert opened.ledger.compact(1 << 30)
    assert not opened.ledger.compact(10)
    (order,) = erasing.orders(opened.ledger)
    erasing.note_progress(
        opened.ledger,
        erasing.Order(**{**{n: getattr(order, n) for n in order.__struct_fields__}, "account": "", "state": "done"}),
    )
    assert opened.ledger.compact(1 << 30)
    octets = b"".join(file.read_bytes() for file in opened.file.parent.glob("ledger.sqlite3*"))
    assert b"anna@forget.me" not in octets
    assert b"their secret" not in octets
    assert b"k@kept.test" in octets
