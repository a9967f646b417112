"""What waits for a person is announced before it ends: how much, of whom, and once a day for each account."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.config.settings import Spool
from outbound_guard.desk.held.expiring import Account, Expiring, Reminder, expiring
from outbound_guard.ledger.records import HeldChange
from outbound_guard.ledger.waiting_queries import Waiting, waiting
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

DAY = 86_400.0
START = 1_700_000_000.0
SETTINGS = Spool(hold_expiry=7 * DAY, hold_warning=DAY)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def opened(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as found:
        found.keep(
            decision("m1", received=START, account="a.test"),
            decision("m2", received=START + 3600, account="a.test"),
            decision("m3", received=START + DAY, account="b.test"),
            # These end otherwise, or not at all.
            decision("m4", received=START, account="c.test", due=START + 900),
            decision("m5", received=START, account="c.test", action="quarantine", state="quarantine"),
            decision("m6", received=START, account="c.test"),
            HeldChange("m6", START + 5, "released"),
        )
        yield found


def test_what_waits(opened: Books) -> None:
    assert waiting(opened.ledger) == Waiting(3, 1, 1, START)


@pytest.mark.parametrize(
    ("at", "messages", "accounts"),
    [
        (START, 0, ()),
        (START + 6 * DAY, 0, ()),
        (START + 6 * DAY + 1, 1, (Account("a.test", 1, START + 7 * DAY),)),
        (START + 6.5 * DAY, 2, (Account("a.test", 2, START + 7 * DAY),)),
        (START + 7.5 * DAY, 3, (Account("a.test", 2, START + 7 * DAY), Account("b.test", 1, START + 8 * DAY))),
    ],
)
def test_what_ends_soon(opened: Books, at: float, messages: int, accounts: tuple[Account, ...]) -> None:
    ends = accounts[0].ends if accounts else 0.0
    assert expiring(opened.ledger, SETTINGS, at) == Expiring(messages, ends, DAY, accounts)


def test_without_a_warning_nothing_is_said(opened: Books) -> None:
    never = Spool(hold_expiry=7 * DAY, hold_warning=0.0)
    assert expiring(opened.ledger, never, START + 20 * DAY) == Expiring(0, 0.0, 0.0, ())
    assert Reminder(opened.ledger, never).look(START + 20 * DAY) == []


def test_each_account_is_named_once_a_day(opened: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    reminder = Reminder(opened.ledger, SETTINGS)
    clock.advance(6 * DAY)
    assert (reminder.look(clock.now()), reminder.messages) == ([], 0)
    clock.advance(1)
    assert reminder.look(clock.now()) == [Account("a.test", 1, START + 7 * DAY)]
    # One more of the same account is no news, but it counts.
    clock.advance(3600)
    assert (reminder.look(clock.now()), reminder.messages) == ([], 2)
    # START is 22:13:20; the next day begins within two hours.
    clock.advance(3600)
    assert reminder.look(clock.now()) == [Account("a.test", 2, START + 7 * DAY)]
    clock.advance(DAY)
    assert [one.account for one in reminder.look(clock.now())] == ["a.test", "b.test"]
    opened.keep(*(HeldChange(id_, clock.now(), "released") for id_ in ("m1", "m2", "m3")))
    assert (reminder.look(clock.now()), reminder.messages) == ([], 0)
    monkeypatch.undo()
    time.tzset()


@pytest.mark.sqlite
@pytest.mark.parametrize("where", ["", " AND received < 5.0"])
def test_what_waits_is_counted_in_the_index_alone(opened: Books, where: str) -> None:
    connection = sqlite3.connect(opened.file)
    query = f"SELECT account, count(*) FROM held WHERE state = 'held' AND due = 0{where} GROUP BY account"
    plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    connection.close()
    assert "USING COVERING INDEX held_waiting" in plan
