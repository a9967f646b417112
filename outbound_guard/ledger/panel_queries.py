"""Questions to the ledger about what control panels were told. Sync; all raise LedgerError."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import audit, decision, outbox, outbox_sending, standing

STOPPED, LET_GO = "panel.stopped", "panel.let_go"
"""Words of the audit."""
_NO_PROOF = ("mail_from", "client_ip")


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What a panel was told about a subject, and what it answered."""

    serial: int
    """Of the row in `outbox_sending`."""
    route: str
    kind: str
    """suspended | resumed"""
    state: str
    attempts: int
    tried: float
    answer: str
    letter: str
    """Its id once a try has begun."""


def suspended(ledger: Ledger, scope: str, subject: str, now: float) -> bool:
    """True if a suspension of this sender or account is in force at `now` (unix seconds)."""
    c = standing.c
    query = select(c.change, c.until).where(c.scope == scope, c.subject == subject, c.kind == "suspension")
    with ledger.connection() as connection:
        row = connection.execute(query).first()
    return row is not None and row.change == "suspended" and not 0 < row.until <= now


def past(ledger: Ledger, routes: tuple[str, ...], scope: str, subject: str, below: int = 0) -> list[Past]:
    """What these panels were told of a subject, the newest first; `below`: only rows before that one."""
    c, n = outbox_sending.c, outbox.c
    whose = (n.sender == subject) if scope == "sender" else ((n.account == subject) & (n.sender == ""))
    query = select(c.serial, c.route, n.kind, c.state, c.attempts, c.tried, c.answer, c.letter)
    query = query.join(outbox, n.serial == c.notice).where(whose, c.route.in_(routes))
    if below:
        query = query.where(c.serial < below)
    query = query.order_by(c.serial.desc()).limit(50)
    with ledger.connection() as connection:
        return [Past(**row) for row in connection.execute(query).mappings()]


def stopped_by_audit(ledger: Ledger, panel: str, subject: str) -> bool:
    """True if the audit's last word is that this panel has stopped the subject, and nobody but us had before."""
    query = select(audit.c.what).where(
        audit.c.subject == subject,
        audit.c.what.in_((STOPPED, LET_GO)),
        audit.c.detail.startswith(f"{panel}: ", autoescape=True),
    )
    query = query.order_by(audit.c.time.desc(), audit.c.serial.desc()).limit(1)
    with ledger.connection() as connection:
        return connection.execute(query).scalar() == STOPPED


def proven(ledger: Ledger, sender: str, since: float, until: float) -> bool:
    """True if all mail of a sender that came in between these times (unix seconds) is known to be of that mailbox.

    Where nothing but the envelope sender names it, anybody may have sent it.
    """
    c = decision.c
    query = select(c.sender_kind, c.source).where(c.sender == sender, c.received > since, c.received <= until)
    with ledger.connection() as connection:
        rows = connection.execute(query.distinct()).all()
    return bool(rows) and all(row.sender_kind == "mailbox" and row.source not in _NO_PROOF for row in rows)


def last_server(ledger: Ledger, scope: str, subject: str) -> str:
    """The server that the newest mail of a sender or account came in by; empty: none is known."""
    c = decision.c
    whose = c.sender == subject if scope == "sender" else c.account == subject
    query = select(c.server).where(whose, c.server != "").order_by(c.received.desc()).limit(1)
    with ledger.connection() as connection:
        return str(connection.execute(query).scalar() or "")
