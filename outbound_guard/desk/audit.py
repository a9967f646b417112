"""Who did what, when and why: looking through the audit, and taking it along."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec

from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import audit_queries
from outbound_guard.ledger.audit_queries import NEWEST, Entry, Found, Place, Search
from outbound_guard.ledger.database import Ledger

COLUMNS = ("time", "by", "what", "subject", "detail")
MOST = 100_000
"""Entries of one export."""
_PORTION = 2_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def audit_search(ledger: Ledger, search: Search) -> Found:
    """A page of entries, newest first. Raises LedgerError."""
    return await asyncio.to_thread(audit_queries.search, ledger, search)


async def audit_all(ledger: Ledger, search: Search, most: int = MOST) -> AsyncIterator[list[Entry]]:
    """All entries that are meant, newest first, in portions; at most `most`. Raises LedgerError."""
    wanted = msgspec.structs.replace(search, limit=min(_PORTION, most))
    given = 0
    while given < most:
        found = await audit_search(ledger, wanted)
        if found.entries:
            yield list(found.entries[: most - given])
        given += len(found.entries)
        if found.more is None:
            return
        wanted = msgspec.structs.replace(wanted, after=found.more)


def as_csv(entries: list[Entry], *, heading: bool) -> str:
    """Entries as lines of CSV (RFC 4180), times in UTC. No cell is one that a spreadsheet would compute."""
    out = io.StringIO()
    writer = csv.writer(out)
    if heading:
        writer.writerow(COLUMNS)
    for entry in entries:
        time = datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="seconds")
        writer.writerow([time, *(_cell(text) for text in (entry.by, entry.what, entry.subject, entry.detail))])
    return out.getvalue()


def place_text(place: Place | None) -> str:
    """A place in the order of entries as one word; empty for None."""
    return f"{place[0]!r}-{place[1]}" if place else ""


def place_of(text: str) -> Place:
    """The place that such a word names; empty: the beginning. Raises DeskError."""
    if not text:
        return NEWEST
    time, _, serial = text.partition("-")
    try:
        if not 0 <= float(time) < 1e12 or not 0 <= int(serial) < 2**63:
            raise ValueError
        return float(time), int(serial)
    except ValueError:
        raise DeskError(f"{text!r} is no place to go on from") from None


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
