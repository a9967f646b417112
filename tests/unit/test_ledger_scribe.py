"""The scribe: whatever happens to SQL or to itself, each record gets into the ledger once."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import directory_queries, queries, segments
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.queries import Filters
from outbound_guard.ledger.records import AccountEntry, Audit, Delivered, HeldChange, Record, Standing, encode
from outbound_guard.ledger.scribe import HANGS, MANY, Scribe, running
from tests.records import BOTH, SCORE, Books, books, decision

LEDGERS = BOTH


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def open_books(tmp_path: Path, clock: VirtualClock) -> Iterator[Books]:
    with books(tmp_path, clock) as opened:
        yield opened


def rows(opened: Books, table: str) -> int:
    return opened.count(table)


ONE_OF_EACH: tuple[Record, ...] = (
    decision("m1"),
    Delivered("m2", 1001.0, "x@example.net", 250, "2.0.0", "Ok", "127.0.0.1:25"),
    HeldChange("m1", 1002.0, "released", by="ann"),
    Standing(1003.0, "sender", "a@example.org", "suspended", account="example.org", reason="spam"),
    Audit(1004.0, "ann", "held.release", "m1"),
    AccountEntry(1005.0, "example.org", name="Example", senders=("*@example.org",)),
)
TABLES = ("decision", "recipient", "delivery", "held", "standing", "standing_history", "audit", "account")


def test_records_of_every_kind_arrive_and_the_files_go(open_books: Books) -> None:
    open_books.keep(*ONE_OF_EACH)
    assert {table: rows(open_books, table) for table in TABLES} == dict.fromkeys(TABLES, 1) | {"recipient": 2}
    assert open_books.scribe.backlog == 0
    assert open_books.scribe.stored == len(ONE_OF_EACH)


def test_the_contributions_add_up_to_the_score_after_the_round_trip(open_books: Books) -> None:
    open_books.keep(decision("m1"))
    found = queries.decision_one(open_books.ledger, "m1")
    assert found is not None
    assert found["score"] == SCORE
    assert sum(signal["weight"] for signal in found["signals"] if not signal["shadow"]) == SCORE


def test_a_segment_met_again_changes_nothing(open_books: Books, tmp_path: Path) -> None:
    for record in ONE_OF_EACH:
        open_books.journal.append(record)
    open_books.journal.close()
    (path,) = segments.sealed(open_books.journal_dir)
    shutil.copy(path, tmp_path / "copy")
    open_books.scribe.once()
    before = {table: rows(open_books, table) for table in TABLES}
    # As if the machine had gone down between the commit and the removal of the file.
    shutil.copy(tmp_path / "copy", path)
    assert open_books.scribe.once() == 0
    assert {table: rows(open_books, table) for table in TABLES} == before
    assert open_books.scribe.backlog == 0


def test_a_decision_told_twice_stays_the_first(open_books: Books) -> None:
    open_books.keep(decision("m1", subject="first"))
    open_books.keep(decision("m1", subject="second"))
    assert [row.subject for row in queries.held_list(open_books.ledger, Filters())] == ["first"]


@pytest.mark.sqlite
def test_a_locked_database_keeps_the_journal_and_later_gets_everything(open_books: Books) -> None:
    open_books.keep(decision("m0"))
    thief = sqlite3.connect(open_books.file, isolation_level=None)
    thief.execute("BEGIN IMMEDIATE")
    for number in range(1, 4):
        open_books.journal.append(decision(f"m{number}"))
        open_books.journal.close()
    with pytest.raises(LedgerError, match="locked"):
        open_books.scribe.once()
    assert open_books.scribe.backlog == 3
    thief.execute("ROLLBACK")
    thief.close()
    assert open_books.scribe.once() == 3
    assert rows(open_books, "decision") == 4


@pytest.mark.sqlite
def test_an_exclusively_locked_database_from_the_start(open_books: Books) -> None:
    thief = sqlite3.connect(open_books.file, isolation_level=None)
    thief.execute("PRAGMA locking_mode = EXCLUSIVE")
    thief.execute("BEGIN EXCLUSIVE")
    open_books.journal.append(decision())
    open_books.journal.close()
    with pytest.raises(LedgerError, match="locked"):
        open_books.scribe.once()
    thief.execute("ROLLBACK")
    thief.close()
    assert open_books.scribe.once() == 1


@pytest.mark.sqlite
def test_a_full_database_keeps_the_journal(open_books: Books) -> None:
    open_books.keep(decision("m0"))
    with open_books.ledger.connection() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    for number in range(200):
        open_books.journal.append(decision(f"n{number}", subject="x" * 2000))
    open_books.journal.close()
    with pytest.raises(LedgerError, match="full"):
        open_books.scribe.once()
    assert rows(open_books, "decision") == 1
    with open_books.ledger.connection() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert open_books.scribe.once() == 200


def test_lines_that_are_no_records_are_put_aside(open_books: Books) -> None:
    open_books.journal_dir.mkdir()
    good = encode(decision("m1"))
    bad = [b"{", b'{"type":"unheard of"}', b'{"type":"audit","time":null,"by":"t","what":"w"}', b"\xff\xfe"]
    torn = encode(decision("m2"))[:40]
    path = open_books.journal_dir / "00000000000001-00000000-aaaaaaaa-relay-0.jsonl"
    path.write_bytes(b"\n".join([*bad[:2], good, *bad[2:], torn]))
    assert open_books.scribe.once() == 1
    assert (open_books.scribe.rejected, open_books.scribe.torn) == (4, 1)
    assert rows(open_books, "decision") == 1
    assert (open_books.journal_dir / "rejected" / path.name).read_bytes().splitlines() == bad
    assert not path.exists()


def test_a_record_that_sql_refuses_does_not_stop_the_others(open_books: Books) -> None:
    open_books.keep(
        decision("m1"),
        decision("m2", size=2**70),
        Standing(1.0, "sender", "a@example.org", "promoted"),
        Audit(2.0, "t", "test"),
        decision("m3"),
    )
    assert [row.id for row in queries.held_list(open_books.ledger, Filters())] == ["m1", "m3"]
    assert (open_books.scribe.stored, open_books.scribe.rejected) == (3, 2)
    (aside,) = (open_books.journal_dir / "rejected").iterdir()
    assert len(aside.read_bytes().splitlines()) == 2
    assert rows(open_books, "audit") == 1
    assert rows(open_books, "standing_history") == 0


def test_a_record_that_sql_refuses_keeps_no_news_from_anybody(open_books: Books) -> None:
    told: list[object] = []
    open_books.scribe.told = told.extend
    suspended = Standing(1.0, "sender", "a@example.org", "suspended")
    open_books.keep(suspended, decision("m2", size=2**70), Audit(2.0, "t", "test"))
    assert told == [suspended, Audit(2.0, "t", "test")]


def test_hostile_text_is_stored_as_it_is_but_for_nul(open_books: Books) -> None:
    hostile = "a'; DROP TABLE decision; --\x1b[2J\u202e\n\x00end\\u0000"
    open_books.keep(decision("m1", subject=hostile))
    (row,) = queries.held_list(open_books.ledger, Filters())
    assert row.subject.startswith("a'; DROP TABLE decision; --\x1b[2J\u202e\n\ufffdend\\")


def test_texts_as_long_as_strangers_can_make_them_are_stored(open_books: Books) -> None:
    # Noise, so that no database can make them shorter.
    noise = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=6000))
    open_books.keep(
        decision("m1", message_id=f"<{noise}>", sender=f"web1/1000:{noise[:1900]}", subject=noise, reason=noise),
        decision("m2", subject="\U0001f600" * 2000, mail_from="a@" + "b" * 250 + ".example"),
    )
    assert {row.id for row in queries.held_list(open_books.ledger, Filters())} == {"m1", "m2"}
    assert open_books.scribe.rejected == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_release_counts_whichever_record_comes_first(open_books: Books, order: tuple[int, int]) -> None:
    records = (decision("m1"), HeldChange("m1", 1002.0, "released", by="ann", reason="fine"))
    for number in order:
        open_books.keep(records[number])
    assert queries.held_list(open_books.ledger, Filters()) == []
    row = queries.held_one(open_books.ledger, "m1")
    assert row is not None
    assert (row.state, row.changed_by, row.account, row.received) == ("released", "ann", "example.org", 1000.0)


def test_of_two_changes_the_later_counts_whichever_comes_first(open_books: Books) -> None:
    open_books.keep(decision("m1"), HeldChange("m1", 1005.0, "released"))
    open_books.keep(HeldChange("m1", 1004.0, "held", due=2000.0))
    row = queries.held_one(open_books.ledger, "m1")
    assert row is not None
    assert row.state == "released"


def test_of_two_standings_the_later_counts_and_both_are_history(open_books: Books) -> None:
    open_books.keep(Standing(20.0, "account", "example.org", "resumed", by="ann"))
    open_books.keep(Standing(10.0, "account", "example.org", "suspended"))
    assert [s.change for s in directory_queries.standings(open_books.ledger)] == ["resumed"]
    assert [s.change for s in directory_queries.history(open_books.ledger, "example.org")] == ["resumed", "suspended"]


def test_an_account_keeps_what_a_later_entry_does_not_say(open_books: Books) -> None:
    open_books.keep(AccountEntry(1.0, "c1", name="One", contact="one@example.org", senders=("a@example.org",)))
    open_books.keep(AccountEntry(2.0, "c1", note="pays late"), AccountEntry(3.0, "c2", senders=("a@example.org",)))
    entry = directory_queries.accounts(open_books.ledger)["c1"]
    assert (entry["name"], entry["contact"], entry["note"], entry["created"]) == (
        "One",
        "one@example.org",
        "pays late",
        1.0,
    )
    assert directory_queries.mapping(open_books.ledger) == {"a@example.org": "c2"}


def test_there_is_one_scribe_only(open_books: Books, clock: VirtualClock) -> None:
    open_books.keep(decision("m1"))
    ledger = Ledger(open_books.url, writer=True)
    other = Scribe(open_books.journal_dir, ledger, clock)
    open_books.journal.append(decision("m2"))
    open_books.journal.close()
    assert running(open_books.journal_dir)
    assert other.once() == 0
    open_books.scribe.close()
    assert not running(open_books.journal_dir)
    assert other.once() == 1
    other.close()
    ledger.close()


async def until(what: Callable[[], bool]) -> None:
    for _ in range(2000):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to it")


@pytest.mark.sqlite
async def test_run_backs_off_recovers_and_stops(open_books: Books) -> None:
    open_books.keep(decision("m0"))
    open_books.scribe.close()
    thief = sqlite3.connect(open_books.file, isolation_level=None)
    thief.execute("BEGIN IMMEDIATE")
    open_books.journal.append(decision("m1"))
    open_books.journal.close()
    task = asyncio.create_task(open_books.scribe.run())
    await until(lambda: open_books.scribe.failures > 0)
    assert not open_books.scribe.ready
    thief.execute("ROLLBACK")
    thief.close()
    await until(lambda: open_books.scribe.ready)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Not before: the writer's one connection may be in use, for what is forgotten.
    assert rows(open_books, "decision") == 2


def test_a_look_that_can_find_nothing_is_left_out(open_books: Books, clock: VirtualClock) -> None:
    scribe = open_books.scribe

    def looks() -> int:
        """How often it looks, asked ten times."""
        found = 0
        for _ in range(10):
            if not scribe._nothing_new():
                scribe._pass()
                found += 1
        return found

    assert 1 <= looks() < 5
    assert looks() == 0
    open_books.journal.append(decision("m1"))
    open_books.journal.close()
    assert 1 <= looks() < 5
    assert scribe.stored == 1
    assert looks() == 0
    # Who died leaves no sign in the folder.
    clock.advance(3.0)
    assert looks() == 1
    # What has failed is tried again, whatever came.
    open_books.scribe._well = False
    assert looks() >= 1


def test_lines_around_one_that_cannot_be_read_arrive(open_books: Books) -> None:
    good = [encode(Audit(float(number), "ann", "held.release", "\0")) for number in range(3)]
    path = open_books.journal_dir / f"00000000000001-00000000-0-x{segments.SEALED}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\n".join([good[0], b"{", good[1], b"", good[2]]) + b"\n")
    open_books.scribe.once()
    assert (open_books.scribe.stored, open_books.scribe.rejected) == (3, 1)


async def test_a_database_that_hangs_is_not_said_to_be_well(
    open_books: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_books.keep(decision("m0"))
    hanging, awake = threading.Event(), threading.Event()
    once = open_books.scribe.once

    def hang() -> int:
        hanging.set()
        assert awake.wait(60)
        return once()

    task = asyncio.create_task(open_books.scribe.run())
    try:
        await until(lambda: open_books.scribe.ready)
        monkeypatch.setattr(open_books.scribe, "once", hang)
        open_books.journal.append(decision("m1"))
        open_books.journal.close()
        await until(hanging.is_set)
        assert open_books.scribe.ready
        clock.advance(HANGS + 1)
        assert not open_books.scribe.ready
        awake.set()
        await until(lambda: open_books.scribe.ready)
        assert rows(open_books, "decision") == 2
    finally:
        awake.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_was_written_by_a_command_waits_for_no_others(
    open_books: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than any test lasts.
    monkeypatch.setattr("outbound_guard.ledger.scribe.LOADED", 3600.0)
    for number in range(MANY):
        open_books.journal.append(decision(f"m{number}"))
    open_books.journal.close()
    task = asyncio.create_task(open_books.scribe.run())
    try:
        await until(lambda: open_books.scribe.stored == MANY)
        command = Journal(open_books.journal_dir, f"{segments.COMMAND}1", clock)
        command.append(decision("by-command"))
        command.close()
        await until(lambda: open_books.scribe.stored == MANY + 1)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_what_is_old_is_forgotten_but_not_what_is_held(open_books: Books, clock: VirtualClock) -> None:
    now = clock.now()
    old = now - 31 * 86400
    open_books.keep(
        decision("old-relayed", received=old, state=""),
        Delivered("old-relayed", old, "x@example.net", 250),
        decision("old-held", received=old),
        decision("old-released", received=old),
        HeldChange("old-released", old + 5, "released"),
        decision("new", received=now, state=""),
        Delivered("new", now, "x@example.net", 250),
        Standing(old, "sender", "a@example.org", "resumed"),
        Standing(old, "sender", "b@example.org", "suspended"),
        Standing(old, "sender", "c@example.org", "exempted", until=old + 60),
        Audit(old, "ann", "held.release", "old-released"),
    )
    open_books.scribe.prune()
    assert {row["id"] for row in queries.decisions(open_books.ledger, Filters())} == {"old-held", "new"}
    assert rows(open_books, "recipient") == 4
    assert rows(open_books, "delivery") == 1
    assert queries.held_states(open_books.ledger, ["old-held", "old-released"]) == {"old-held": "held"}
    assert [s.subject for s in directory_queries.standings(open_books.ledger)] == ["b@example.org"]
    assert rows(open_books, "audit") == 1
    assert rows(open_books, "segment") == 0


def test_forgetting_works_through_many_portions(
    open_books: Books, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbound_guard.ledger.retention.PORTION", 10)
    old = clock.now() - 40 * 86400
    open_books.keep(
        *(decision(f"m{n}", received=old, state="") for n in range(35)),
        *(Delivered(f"m{n}", old, "x@example.net", 250) for n in range(35)),
    )
    open_books.scribe.prune()
    assert rows(open_books, "decision") == rows(open_books, "delivery") == rows(open_books, "recipient") == 0
