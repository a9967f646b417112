"""What the desk answers when it cannot do what it was asked."""

from __future__ import annotations

from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Record


class DeskError(Exception):
    """What was asked is refused or failed; the text says why in one line. Nothing was changed unless it says so."""


def on_disk(journal: Journal, *records: Record) -> None:
    """Have the records on disk before the act. Raises DeskError, and then the act must not be done."""
    try:
        journal.write(*records)
    except OSError as error:
        raise DeskError(f"nothing was done, since the journal cannot be written: {error.strerror or error}") from error
