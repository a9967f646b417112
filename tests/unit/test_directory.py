"""The directory in memory: what it answers, when it reads again, and what it does without a ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound_guard.accounts.directory import Directory
from outbound_guard.clock import VirtualClock
from outbound_guard.config import Limit, LimitTables
from outbound_guard.ledger import directory_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import AccountEntry, Standing
from tests.records import BOTH_LONG, Books, books, decision

LEDGERS = BOTH_LONG

DEFAULT = LimitTables(
    account=Limit(recipients_per_hour=5000, messages_per_day=900), sender=Limit(recipients_per_hour=3000)
)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def open_books(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as opened:
        yield opened


def standing(change: str, subject: str = "a@example.org", scope: str = "sender", **other: object) -> Standing:
    fields: dict[str, object] = {"time": 1_700_000_000.0, "scope": scope, "subject": subject, "change": change}
    return Standing(**(fields | other))  # type: ignore[arg-type]


async def test_the_account_of_a_sender(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(
        AccountEntry(1.0, "one", senders=("Ann@Example.org", "*@example.net")),
        AccountEntry(1.0, "two", senders=("bob@example.net", "web1/1012*", "support-*@example.net", "*.example.com")),
        AccountEntry(1.0, "odd", senders=("[x]?@example.org",)),
    )
    directory = Directory(open_books.ledger, clock)
    assert directory.account_of("ann@example.org") is None
    assert await directory.refresh()
    expected = {
        "ann@example.org": "one",
        "ANN@EXAMPLE.ORG": "one",
        "anne@example.org": None,
        "carol@example.net": "one",
        "bob@example.net": "two",
        "support-7@example.net": "two",
        "web1/1012:mail.php": "two",
        "web1/101:mail.php": None,
        "x@host.example.com": "two",
        "[x]?@example.org": "odd",
        "xy@example.org": None,
        "": None,
    }
    for _ in range(2):  # The second time from memory.
        assert {sender: directory.account_of(sender) for sender in expected} == expected


async def test_a_whole_domain_wins_over_a_shorter_pattern_only(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(
        AccountEntry(1.0, "domain", senders=("*@example.org",)),
        AccountEntry(1.0, "short", senders=("*.org", "b*")),
        AccountEntry(1.0, "long", senders=("bulk*@example.org",)),
    )
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    assert directory.account_of("a@example.org") == "domain"
    assert directory.account_of("bulk9@example.org") == "long"
    assert directory.account_of("x@other.org") == "short"


async def test_suspensions_of_senders_and_accounts(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(standing("suspended", reason="spam"), standing("suspended", "bad.example", "account"))
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    found = directory.suspended("a@example.org", "example.org")
    assert found is not None
    assert found.reason == "spam"
    assert directory.suspended("b@example.org", "example.org") is None
    assert directory.suspended("x@bad.example", "bad.example") is not None
    # A sender's suspension is not that of an account of the same name.
    assert directory.suspended("bad.example", "good.example") is None
    open_books.keep(standing("resumed", time=clock.now() + 1))
    assert await directory.refresh()
    assert directory.suspended("a@example.org", "example.org") is None


async def test_a_suspension_ends_by_itself(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(standing("suspended", until=clock.now() + 60))
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    assert directory.suspended("a@example.org", "example.org") is not None
    clock.advance(60)
    assert directory.suspended("a@example.org", "example.org") is None


async def test_what_is_suspended_here_holds_at_once_until_the_ledger_says_otherwise(
    open_books: Books, clock: VirtualClock
) -> None:
    open_books.keep(standing("resumed", time=clock.now() - 10))
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    here = standing("suspended")
    directory.suspend_now(here)
    assert directory.suspended("a@example.org", "example.org") is here
    # Something else changes; the ledger does not have ours yet.
    open_books.keep(standing("suspended", "other@example.org"))
    assert await directory.refresh()
    assert directory.suspended("a@example.org", "example.org") is here
    # It arrives, and is taken back.
    open_books.keep(here)
    open_books.keep(standing("resumed", time=clock.now() + 5))
    assert await directory.refresh()
    assert directory.suspended("a@example.org", "example.org") is None


async def test_news_that_the_ledger_does_not_know_end_after_a_while(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(standing("suspended", "other@example.org"))
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    heard = standing("suspended")
    directory.hear(heard)
    directory.suspend_now(standing("suspended", "b@example.org"))
    clock.advance(599)
    assert not await directory.refresh()
    assert directory.suspended("a@example.org", "") is heard
    # It was erased meanwhile, and the stream still has it, as it may after a state was away.
    clock.advance(2)
    for _ in range(2):
        assert not await directory.refresh()
        assert directory.suspended("a@example.org", "") is None
        directory.hear(heard)
    # What was decided here, and what the ledger has, stay.
    assert directory.suspended("b@example.org", "") is not None
    assert directory.suspended("other@example.org", "") is not None
    await directory.refresh()
    open_books.keep(heard)
    assert await directory.refresh()
    assert directory.suspended("a@example.org", "") is not None


async def test_limits_are_inherited(open_books: Books, clock: VirtualClock) -> None:
    directory = Directory(open_books.ledger, clock)
    open_books.keep(decision())
    await directory.refresh()
    assert directory.limit("a@example.org", "example.org", DEFAULT) is DEFAULT.sender
    assert directory.account_limit("example.org", DEFAULT) is DEFAULT.account
    open_books.keep(
        standing("limited", "example.org", "account", limits={"recipients_per_hour": 50, "messages_per_minute": 7}),
        standing("limited", limits={"messages_per_minute": 2, "of a later version": 3}),
    )
    assert await directory.refresh()
    assert directory.limit("a@example.org", "example.org", DEFAULT) == Limit(
        messages_per_minute=2, recipients_per_hour=50
    )
    assert directory.limit("b@example.org", "example.org", DEFAULT) == Limit(
        messages_per_minute=7, recipients_per_hour=50
    )
    assert directory.limit("x@example.net", "example.net", DEFAULT) == DEFAULT.sender
    assert directory.account_limit("example.org", DEFAULT) == Limit(
        messages_per_minute=7, recipients_per_hour=50, messages_per_day=900
    )
    # A reloaded policy counts at once.
    other = LimitTables(sender=Limit(recipients_per_day=9), account=Limit())
    assert directory.limit("b@example.org", "example.org", other).recipients_per_day == 9
    open_books.keep(standing("unlimited", time=clock.now() + 1))
    await directory.refresh()
    assert directory.limit("a@example.org", "example.org", DEFAULT).messages_per_minute == 7


async def test_exemptions_have_a_reason_and_an_end(open_books: Books, clock: VirtualClock) -> None:
    now = clock.now()
    open_books.keep(
        standing("exempted", until=now + 100, reason="newsletter agreed"),
        standing("exempted", "example.net", "account", until=now + 100, reason="migration"),
    )
    directory = Directory(open_books.ledger, clock)
    await directory.refresh()
    assert directory.exempt("a@example.org", "example.org", now) == "newsletter agreed"
    assert directory.exempt("a@example.org", "example.org", now + 100) is None
    assert directory.exempt("x@example.net", "example.net", now) == "migration"
    assert directory.exempt("b@example.org", "example.org", now) is None


async def test_nothing_is_read_again_while_nothing_changes(
    open_books: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = directory_queries.standings
    monkeypatch.setattr(directory_queries, "standings", lambda ledger: read.append(1) or original(ledger))
    open_books.keep(standing("suspended"))
    directory = Directory(open_books.ledger, clock)
    assert await directory.refresh()
    open_books.keep(decision())
    assert not await directory.refresh()
    assert len(read) == 1


@pytest.mark.sqlite
async def test_a_ledger_that_is_locked_changes_nothing(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(standing("suspended"))
    reader = Ledger(open_books.url, busy=0.05)
    directory = Directory(reader, clock)
    await directory.refresh()
    reader.close()
    open_books.keep(standing("resumed", time=clock.now() + 1))
    open_books.ledger.close()
    thief = sqlite3.connect(open_books.file, isolation_level=None)
    thief.execute("PRAGMA locking_mode = EXCLUSIVE")
    thief.execute("BEGIN EXCLUSIVE")
    assert not await directory.refresh()
    assert directory.failing
    assert directory.suspended("a@example.org", "example.org") is not None
    thief.execute("ROLLBACK")
    thief.close()
    assert await directory.refresh()
    assert not directory.failing
    assert directory.suspended("a@example.org", "example.org") is None
    reader.close()


async def test_without_a_ledger_only_what_happens_here_counts(clock: VirtualClock) -> None:
    directory = Directory(None, clock)
    assert not await directory.refresh()
    assert directory.account_of("a@example.org") is None
    directory.suspend_now(standing("suspended"))
    assert directory.suspended("a@example.org", "example.org") is not None


@pytest.mark.sqlite
async def test_a_ledger_that_is_not_made_yet_is_read_as_soon_as_it_is(tmp_path: Path, clock: VirtualClock) -> None:
    reader = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    directory = Directory(reader, clock)
    assert not await directory.refresh()
    assert directory.failing
    with books(tmp_path, clock) as opened:
        opened.keep(standing("suspended"))
    assert await directory.refresh()
    reader.close()
