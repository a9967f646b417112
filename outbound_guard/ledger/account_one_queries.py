"""Questions to the ledger about one account, or one sender inside it. Sync; all raise LedgerError.

`scope` is account or sender. What concerns an account concerns its senders too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, and_, func, or_, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.records import Note
from outbound_guard.ledger.tables import (
    account_note,
    account_seen,
    case_file,
    decision,
    delivery,
    held,
    sender_seen,
    standing,
)

Row = dict[str, Any]


class SenderRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sender of an account."""

    sender: str
    account: str = ""
    kind: str = ""
    first: float = 0.0
    last: float = 0.0
    """Unix seconds; 0: it was never seen to send."""
    standing: tuple[str, ...] = ()
    """What is in force of it alone: suspended, limited, exempted, probation, pinned."""


def seen(ledger: Ledger, name: str) -> tuple[float, float] | None:
    """When an account was first and last heard of (unix seconds, to some minutes); None if it never was."""
    query = select(account_seen.c.first, account_seen.c.last).where(account_seen.c.account == name)
    with ledger.connection() as connection:
        row = connection.execute(query).first()
    return (row.first, row.last) if row else None


def account_of_sender(ledger: Ledger, sender: str) -> str | None:
    """The account that a sender was last seen in; None if it was never seen."""
    query = select(sender_seen.c.account).where(sender_seen.c.sender == sender)
    with ledger.connection() as connection:
        return connection.execute(query.order_by(sender_seen.c.last.desc()).limit(1)).scalar()


def senders(
    ledger: Ledger, name: str, now: float, *, search: str = "", limit: int = 50, offset: int = 0
) -> tuple[list[SenderRow], int]:
    """A page of the senders of an account, the latest first, and how many there are. `limit` 0: all of them.

    Those that have a standing and were never seen to send come first.
    """
    table = sender_seen
    where: list[ColumnElement[bool]] = [table.c.account == name]
    if search:
        where.append(table.c.sender.icontains(search, autoescape=True))
    query = select(table.c.sender, table.c.account, table.c.kind, table.c.first, table.c.last).where(*where)
    query = query.order_by(table.c.last.desc(), table.c.sender).offset(offset)
    if limit:
        query = query.limit(limit)
    on = standing.c.change.in_(("suspended", "limited", "exempted", "probation", "pinned"))
    stands = select(standing.c.subject, standing.c.change).where(
        standing.c.scope == "sender", standing.c.account == name, on, or_(standing.c.until == 0, standing.c.until > now)
    )
    with ledger.connection() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
        total = connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()
        states: dict[str, list[str]] = {}
        for subject, change in connection.execute(stands.order_by(standing.c.change)):
            states.setdefault(subject, []).append(change)
        known = set(
            connection.execute(
                select(table.c.sender).where(table.c.account == name, table.c.sender.in_(states))
            ).scalars()
        )
    silent = [subject for subject in states if subject not in known and search.lower() in subject.lower()]
    if not offset:
        rows = [{"sender": subject, "account": name} for subject in sorted(silent)] + rows
    return [SenderRow(**row, standing=tuple(states.get(row["sender"], ()))) for row in rows], total + len(silent)


def sender_names(ledger: Ledger, name: str, since: float = 0.0) -> list[str]:
    """The senders of an account that sent since then (unix seconds)."""
    query = select(sender_seen.c.sender).where(sender_seen.c.account == name, sender_seen.c.last >= since)
    with ledger.connection() as connection:
        return list(connection.execute(query.order_by(sender_seen.c.sender)).scalars())


def recent(ledger: Ledger, scope: str, subject: str, limit: int) -> list[Row]:
    """The newest decisions, newest first; not all that is known of each, and `recipients` and `signals` as JSON."""
    names = (
        "id",
        "received",
        "sender",
        "action",
        "score",
        "code",
        "client_ip",
        "server",
        "recipients",
        "signals",
        "answered",
    )
    column = decision.c.sender if scope == "sender" else decision.c.account
    query = select(*(decision.c[name] for name in names)).where(column == subject)
    with ledger.connection() as connection:
        rows = connection.execute(query.order_by(decision.c.received.desc()).limit(limit)).mappings()
        return [dict(row) for row in rows]


def answers(ledger: Ledger, ids: Sequence[str]) -> list[Row]:
    """What next hops answered for these messages, in the end: `recipient, code, enhanced, text, peer`."""
    names = ("id", "recipient", "code", "enhanced", "text", "peer")
    found: list[Row] = []
    with ledger.connection() as connection:
        for some in portions(ids):
            query = select(*(delivery.c[name] for name in names))
            query = query.where(delivery.c.id.in_(some), delivery.c.final)
            found += [dict(row) for row in connection.execute(query).mappings()]
    return found


def decision_count(ledger: Ledger, name: str) -> int:
    """How many messages of an account are known."""
    query = select(func.count()).select_from(decision).where(decision.c.account == name)
    with ledger.connection() as connection:
        return connection.execute(query).scalar_one()


def held_now(ledger: Ledger, scope: str, subject: str) -> int:
    """Messages that are held or in quarantine."""
    query = select(func.count()).select_from(held).where(held.c.open, _whose(held, scope, subject))
    with ledger.connection() as connection:
        return connection.execute(query).scalar_one()


def held_decided(ledger: Ledger, scope: str, subject: str, since: float, limit: int = 200) -> list[Row]:
    """Held mail that people have decided about: `id, state, changed, changed_by, reason`, of the newest mail."""
    names = ("id", "state", "changed", "changed_by", "reason")
    query = select(*(held.c[name] for name in names))
    query = query.where(_whose(held, scope, subject), held.c.received >= since, held.c.changed_by != "system")
    with ledger.connection() as connection:
        rows = connection.execute(query.order_by(held.c.received.desc()).limit(limit)).mappings()
        return [dict(row) for row in rows]


def notes(ledger: Ledger, scope: str, subject: str, limit: int = 100) -> list[Note]:
    """What people have written down, newest first; of an account also what was written about its senders."""
    table = account_note
    where: ColumnElement[bool] = and_(table.c.scope == scope, table.c.subject == subject)
    if scope == "account":
        where = or_(where, table.c.account == subject)
    query = select(table).where(where, table.c.text != "").order_by(table.c.time.desc(), table.c.id).limit(limit)
    with ledger.connection() as connection:
        return [Note(**row) for row in connection.execute(query).mappings()]


def note_one(ledger: Ledger, id_: str) -> Note | None:
    """One note; None if there is none, or it was removed."""
    query = select(account_note).where(account_note.c.id == id_, account_note.c.text != "")
    with ledger.connection() as connection:
        row = connection.execute(query).mappings().first()
    return Note(**row) if row else None


def cases_naming(ledger: Ledger, name: str) -> list[Row]:
    """Cases that an account was named in: `id, title, state, opened`, newest first."""
    quoted = msgspec.json.encode(name).decode()
    query = select(case_file.c.id, case_file.c.title, case_file.c.state, case_file.c.opened)
    query = query.where(case_file.c.accounts.contains(quoted, autoescape=True)).order_by(case_file.c.opened.desc())
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _whose(table: Table, scope: str, subject: str) -> ColumnElement[bool]:
    return (table.c.sender if scope == "sender" else table.c.account) == subject
