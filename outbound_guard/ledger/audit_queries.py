"""Questions to the ledger about what people and the machine did. Sync; all raise LedgerError."""

from __future__ import annotations

import msgspec
from sqlalchemy import ColumnElement, or_, select, tuple_

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import audit

SCAN = 10_000
"""Entries that are looked through for a text, in one answer."""
NEWEST = (float("inf"), 0)

Place = tuple[float, int]
"""Where in the order of entries one is: its time, and its number."""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant; what is empty does not restrict."""

    by: str = ""
    """Who, for example `console:ann`; with `*` at the end: all that begin so."""
    what: str = ""
    """For example `held.release`; with `*` at the end: all that begin so."""
    subject: str = ""
    """What it was done to: a message's id, an account, a sender, a case; with `*` at the end: all that begin so."""
    text: str = ""
    """A part of subject or detail; upper and lower case of ASCII letters are the same."""
    since: float = 0.0
    before: float = 0.0
    """Unix seconds."""
    after: Place = NEWEST
    """Only what comes behind this place, newest first."""
    limit: int = 50


class Entry(msgspec.Struct, frozen=True):
    """Somebody did something."""

    serial: int
    time: float
    by: str
    what: str
    subject: str
    detail: str


class Found(msgspec.Struct, frozen=True):
    """A page of entries, newest first."""

    entries: tuple[Entry, ...]
    more: Place | None
    """Where to go on; None if that was all."""
    looked_back_to: float
    """0; or the search ended before its page was full, and has looked at everything since then (unix seconds)."""


def search(ledger: Ledger, wanted: Search) -> Found:
    """Entries, newest first."""
    columns = (audit.c.serial, audit.c.time, audit.c.by, audit.c.what, audit.c.subject, audit.c.detail)
    query = select(*columns).where(*_where(wanted)).order_by(audit.c.time.desc(), audit.c.serial.desc())
    with ledger.connection() as connection:
        if not wanted.text:
            rows = [Entry(*row) for row in connection.execute(query.limit(wanted.limit + 1))]
            return _page(rows, wanted.limit)
        looked = query.limit(SCAN).subquery()
        says = or_(*(column.icontains(wanted.text, autoescape=True) for column in (looked.c.subject, looked.c.detail)))
        found = select(looked).where(says).order_by(looked.c.time.desc(), looked.c.serial.desc())
        rows = [Entry(*row) for row in connection.execute(found.limit(wanted.limit + 1))]
        if len(rows) <= wanted.limit:
            end = query.with_only_columns(audit.c.time, audit.c.serial).offset(SCAN - 1).limit(1)
            if edge := connection.execute(end).first():
                return Found(tuple(rows), (edge[0], edge[1]), edge[0])
    return _page(rows, wanted.limit)


def _page(rows: list[Entry], limit: int) -> Found:
    """The page of which these are the rows, and one more if there is more."""
    if len(rows) <= limit:
        return Found(tuple(rows), None, 0.0)
    rows = rows[:limit]
    return Found(tuple(rows), (rows[-1].time, rows[-1].serial), 0.0)


def _where(wanted: Search) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    for column, value in ((audit.c.by, wanted.by), (audit.c.what, wanted.what), (audit.c.subject, wanted.subject)):
        if value.endswith("*"):
            start = value[:-1]
            # As a range, which an index can be asked for; the last character is beyond all that are used.
            where += [column >= start, column < start + "\U0010ffff"] if start else []
        elif value:
            where.append(column == value)
    if wanted.since:
        where.append(audit.c.time >= wanted.since)
    if wanted.before:
        where.append(audit.c.time < wanted.before)
    if wanted.after != NEWEST:
        where.append(audit.c.time <= wanted.after[0])
        where.append(tuple_(audit.c.time, audit.c.serial) < tuple_(*wanted.after))
    return where
