"""Questions to the ledger about our addresses on lists, for many addresses at once. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import case_file, case_subject, decision, listing, listing_history

Row = dict[str, Any]

MOST_CHANGES = 2_000
"""Changes of one subject or list that are looked at, of the newest."""


class Word(msgspec.Struct, frozen=True, array_like=True):
    """What a list says of a subject, unless it is clean."""

    subject: str
    zone: str
    state: str
    """listed | unknown"""
    known: str
    """listed | clean | empty: when it was last known."""
    weight: float
    reason: str


def words(ledger: Ledger) -> list[Word]:
    """All answers but those that something is clean: few, unless many lists are silent."""
    c = listing.c
    query = select(c.subject, c.zone, c.state, c.known, c.weight, c.reason).where(c.state != "clean")
    with ledger.connection() as connection:
        return [Word(*row) for row in connection.execute(query)]


def numbers_asked(ledger: Ledger) -> tuple[dict[str, int], dict[str, int]]:
    """How many lists were asked about each subject, and about how many subjects each list."""
    c = listing.c
    with ledger.connection() as connection:
        by_subject = connection.execute(select(c.subject, func.count()).group_by(c.subject)).all()
        by_zone = connection.execute(select(c.zone, func.count()).group_by(c.zone)).all()
    return {row[0]: row[1] for row in by_subject}, {row[0]: row[1] for row in by_zone}


def cells(ledger: Ledger, subjects: Sequence[str], *, clean: bool = False) -> list[Row]:
    """Rows of `listing` of these subjects; those that say `clean` only if they are wanted too."""
    query = select(listing).where(listing.c.subject.in_(subjects))
    if not clean:
        query = query.where(listing.c.state != "clean")
    with ledger.connection() as connection:
        found = connection.execute(query.order_by(listing.c.subject, listing.c.zone)).mappings()
        return [dict(row) for row in found]


def checked(ledger: Ledger, subjects: Sequence[str] = (), zone: str = "") -> dict[str, float]:
    """When each of these subjects was asked about last, or (`zone`) when this list was asked last, by its name."""
    c = listing.c
    of = c.zone if zone else c.subject
    query = select(of, func.max(c.checked)).where(c.zone == zone if zone else c.subject.in_(subjects)).group_by(of)
    with ledger.connection() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def changes(ledger: Ledger, *, subject: str = "", zone: str = "") -> list[Row]:
    """The changes of a subject, a list, both or all, oldest first: of the newest MOST_CHANGES."""
    table = listing_history
    query = select(table).order_by(table.c.serial.desc()).limit(MOST_CHANGES)
    if subject:
        query = query.where(table.c.subject == subject)
    if zone:
        query = query.where(table.c.zone == zone)
    with ledger.connection() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda row: (row["time"], row["serial"]))


def open_cases(ledger: Ledger, subjects: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By subject the open cases that are about it, the newest first: (id, stage)."""
    found: dict[str, list[tuple[str, str]]] = {}
    query = (
        select(case_subject.c.subject, case_file.c.id, case_file.c.stage)
        .distinct()
        .select_from(case_subject.join(case_file, case_file.c.id == case_subject.c.case_id))
        .where(case_subject.c.subject.in_(subjects), case_file.c.state == "open")
        .order_by(case_file.c.id.desc())
    )
    with ledger.connection() as connection:
        for subject, id_, stage in connection.execute(query):
            found.setdefault(subject, []).append((id_, stage))
    return found


def account_of(ledger: Ledger, senders: Sequence[str], accounts: Sequence[str]) -> str:
    """The account that mail of one of these senders was of, the newest; else the first of `accounts` that ever sent."""
    query = select(decision.c.account).where(decision.c.sender.in_(senders)).order_by(decision.c.received.desc())
    with ledger.connection() as connection:
        if found := connection.execute(query.limit(1)).scalar():
            return str(found)
        for account in dict.fromkeys(accounts):
            if connection.execute(select(decision.c.account).where(decision.c.account == account).limit(1)).scalar():
                return account
    return ""
