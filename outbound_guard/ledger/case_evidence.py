"""Questions to the ledger about what was sent while an address got a bad name. Sync; all raise LedgerError.

`addresses` are those of ours that are meant; what is known to have been tried from others alone is left out. It is not
known for what was never tried, what the system chose an address for, and what older versions recorded: that stays in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, distinct, exists, func, or_, select, true

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import decision, delivery, standing, standing_history

Row = dict[str, Any]

MOST_ANSWERS = 5_000
MOST_DECISIONS = 1_000


def sent(ledger: Ledger, since: float, until: float, addresses: Sequence[str] = ()) -> list[Row]:
    """By account and action: `account, action, messages, through, senders, score` (the highest).

    `through`: how many of the messages were tried from one of the addresses.
    """
    query = (
        select(
            decision.c.account,
            decision.c.action,
            func.count().label("messages"),
            func.sum(case((_through(addresses), 1), else_=0)).label("through"),
            func.count(distinct(decision.c.sender)).label("senders"),
            func.max(decision.c.score).label("score"),
        )
        .where(decision.c.received >= since, decision.c.received <= until, _maybe_through(addresses))
        .group_by(decision.c.account, decision.c.action)
    )
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def refused(
    ledger: Ledger, since: float, until: float, addresses: Sequence[str] = (), peers: Sequence[str] = ()
) -> list[Row]:
    """Answers 4xx and 5xx to the mail of that time, of the newest first.

    Each with `account, sender, recipient, code, enhanced, text, peer, source_address`. `peers` (host:port): where the
    address is not known, only answers of these hops.
    """
    query = (
        select(
            decision.c.account,
            decision.c.sender,
            delivery.c.recipient,
            delivery.c.code,
            delivery.c.enhanced,
            delivery.c.text,
            delivery.c.peer,
            delivery.c.source_address,
        )
        .select_from(decision.join(delivery, delivery.c.id == decision.c.id))
        .where(decision.c.received >= since, decision.c.received <= until, delivery.c.code >= 400)
    )
    if addresses:
        query = query.where(delivery.c.source_address.in_((*addresses, "")))
    if peers:
        query = query.where(or_(delivery.c.source_address != "", delivery.c.peer.in_(peers)))
    with ledger.connection() as connection:
        found = connection.execute(query.order_by(decision.c.received.desc()).limit(MOST_ANSWERS)).mappings()
        return [dict(row) for row in found]


def suspicious(ledger: Ledger, since: float, until: float, score: float, addresses: Sequence[str] = ()) -> list[Row]:
    """Decisions of that time with at least that score, the highest first.

    Each with `account, sender, sender_kind, subject, signals` (JSON).
    """
    query = (
        select(decision.c.account, decision.c.sender, decision.c.sender_kind, decision.c.subject, decision.c.signals)
        .where(decision.c.received >= since, decision.c.received <= until, decision.c.score >= score)
        .where(_maybe_through(addresses))
        .order_by(decision.c.score.desc())
        .limit(MOST_DECISIONS)
    )
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def changes(ledger: Ledger, since: float, until: float) -> list[Row]:
    """What happened to standings in that time, oldest first: columns of `standing_history`."""
    table = standing_history
    query = select(table).where(table.c.time >= since, table.c.time <= until).order_by(table.c.time, table.c.serial)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def in_force(ledger: Ledger, accounts: Sequence[str], now: float) -> list[Row]:
    """Suspensions and limits in force of these accounts and of their senders: columns of `standing`."""
    of_them = standing.c.subject.in_(accounts) | standing.c.account.in_(accounts)
    query = select(standing).where(of_them, standing.c.change.in_(("suspended", "limited")))
    with ledger.connection() as connection:
        rows = [dict(row) for row in connection.execute(query.order_by(standing.c.time)).mappings()]
    return [row for row in rows if not 0 < row["until"] <= now]


def _through(addresses: Sequence[str]) -> ColumnElement[bool]:
    """True of a decision whose message was tried from one of the addresses, at once or later."""
    later = exists().where(delivery.c.id == decision.c.id, delivery.c.source_address.in_(addresses))
    return or_(decision.c.source_address.in_(addresses), later)


def _maybe_through(addresses: Sequence[str]) -> ColumnElement[bool]:
    """True unless it is known that it was tried, and from none of the addresses. Without addresses: always."""
    if not addresses:
        return true()
    known = exists().where(delivery.c.id == decision.c.id, delivery.c.source_address != "")
    return or_(_through(addresses), and_(decision.c.source_address == "", ~known))
