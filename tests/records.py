"""Records and spool entries as tests need them, and a ledger to put them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Decision, Record
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.mail import Envelope, Signal
from outbound_guard.spool import Entry

SIGNALS = (
    Signal("novelty", 4.25, "9 of 10 recipients are new, usually 10 %"),
    Signal("rate", 2.5, "80 messages in an hour, usually 3", volume=True),
    Signal("structure", 1.0, "on trial", shadow=True),
    Signal("from_address", -0.5, "the From is its own"),
)
SCORE = 6.25


def decision(id_: str = "m1", **other: Any) -> Decision:
    """A decision to hold; `other` replaces fields."""
    fields: dict[str, Any] = {
        "id": id_,
        "received": 1000.0,
        "account": "example.org",
        "sender": "a@example.org",
        "action": "hold",
        "score": SCORE,
        "code": "OG-NOVELTY",
        "reason": "many new recipients",
        "signals": SIGNALS,
        "mail_from": "a@example.org",
        "recipients": ("x@example.net", "Y@example.net"),
        "subject": "Hello",
        "state": "held",
    }
    return Decision(**fields | other)


def entry(id_: str = "m1", **other: Any) -> Entry:
    """What the spool knows of the same message."""
    fields: dict[str, Any] = {
        "id": id_,
        "received": 1000.0,
        "envelope": Envelope("a@example.org", ("x@example.net", "Y@example.net")),
        "account": "example.org",
        "sender": "a@example.org",
        "subject": "Hello",
        "action": "hold",
        "score": SCORE,
        "reasons": ("novelty +4.2: 9 of 10 recipients are new",),
    }
    return Entry(**fields | other)


BOTH = ("sqlite", "postgresql")
"""As `LEDGERS` of a module: its tests run on both databases (tests/conftest.py)."""
BOTH_LONG = ("sqlite", "postgresql long")
"""The same, and CI leaves PostgreSQL out."""

postgresql_at: Callable[[Path], str] | None = None
"""Gives the URL of a directory's ledger, while a test runs on PostgreSQL."""


def ledger_url(directory: Path) -> str:
    """The URL of a directory's ledger, in the database that the test runs on."""
    if postgresql_at is not None:
        return postgresql_at(directory)
    return f"sqlite:///{directory / 'ledger.sqlite3'}"


class Books:
    """A journal, a scribe and the ledger in one directory."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.url = ledger_url(directory)
        self.file = directory / "ledger.sqlite3"
        """SQLite's."""
        self.journal_dir = directory / "journal"
        self.journal = Journal(self.journal_dir, "test", clock)
        self.ledger = Ledger(self.url, writer=True, busy=0.05)
        self.scribe = Scribe(self.journal_dir, self.ledger, clock)

    def keep(self, *records: Record) -> None:
        """Journal and ledger have the records when this returns."""
        for record in records:
            self.journal.append(record)
        self.journal.close()
        self.scribe.once()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement finds, or nothing if it finds nothing."""
        with self.ledger.connection() as connection:
            done = connection.exec_driver_sql(statement)
            return [tuple(row) for row in done] if done.returns_rows else []

    def count(self, table: str) -> int:
        """Rows of a table."""
        return int(self.sql(f"SELECT count(*) FROM {table}")[0][0])


@contextmanager
def books(directory: Path, clock: Clock) -> Iterator[Books]:
    """Open books, closed at the end."""
    opened = Books(directory, clock)
    try:
        yield opened
    finally:
        opened.journal.close()
        opened.scribe.close()
        opened.ledger.close()
