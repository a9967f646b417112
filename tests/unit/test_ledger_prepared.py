"""Statements that are spelled once: rows by their place, many at a time, the same in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import tables
from outbound_guard.ledger.prepared import Prepared, but_serial
from tests.records import BOTH, Books, books

LEDGERS = BOTH


@pytest.fixture
def open_books(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path, VirtualClock(1_700_000_000.0)) as opened:
        opened.scribe.once()
        yield opened


def test_a_row_that_is_there_stays_as_it_is(open_books: Books) -> None:
    account = Prepared(tables.account_seen)
    with open_books.ledger.connection() as connection:
        account.run(connection, [("50% off", 1.0, 2.0), ("b:c?", 1.0, 2.0)])
        account.run(connection, [("50% off", 3.0, 4.0), ("d", 3.0, 4.0)])
        account.run(connection, [])
    assert open_books.sql('SELECT account, "first" FROM account_seen ORDER BY account') == [
        ("50% off", 1.0),
        ("b:c?", 1.0),
        ("d", 3.0),
    ]


def test_a_conflict_changes_what_it_says(open_books: Books) -> None:
    def later(statement: Any) -> Any:
        return statement.on_conflict_do_update(
            index_elements=["account"],
            set_={"last": statement.excluded.last},
            where=tables.account_seen.c.last < statement.excluded.last,
        )

    account = Prepared(tables.account_seen, conflict=later)
    with open_books.ledger.connection() as connection:
        # One after the other: the second and third meet what those before them left.
        account.run(connection, [("a", 1.0, 2.0), ("a", 5.0, 6.0), ("a", 3.0, 4.0)])
    assert open_books.sql('SELECT "first", "last" FROM account_seen') == [(1.0, 6.0)]


def test_the_database_numbers_rows_in_their_order(open_books: Books) -> None:
    audit = Prepared(tables.audit, but_serial(tables.audit))
    with open_books.ledger.connection() as connection:
        audit.run(connection, [(float(n), "ann", "x", str(n), "") for n in range(5)])
    assert [subject for (subject,) in open_books.sql("SELECT subject FROM audit ORDER BY serial")] == list("01234")


def test_columns_in_another_order_are_refused_before_values_go_astray(open_books: Books) -> None:
    wrong = Prepared(tables.account_seen, ["account", "last", "first"])
    with pytest.raises(ValueError, match="account_seen"), open_books.ledger.connection() as connection:
        wrong.run(connection, [("a", 1.0, 2.0)])
    assert open_books.count("account_seen") == 0
