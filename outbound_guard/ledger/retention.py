"""What the ledger forgets, and when."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, or_, select

from outbound_guard.ledger import tables
from outbound_guard.ledger.database import Ledger

PORTION = 2000
"""Rows deleted in one transaction, so that new records need not wait long."""
OPEN = ("held", "quarantine")


def forget(ledger: Ledger, before: float, waiting: set[str]) -> None:
    """Remove what happened before `before` (unix seconds). Raises LedgerError.

    Stays: what is held, with its decisions; standings in force; audit and history, which are few and answer "who did
    that". `waiting` are the segments still on disk: their names must be kept.
    """
    decision, held, standing = tables.decision, tables.held, tables.standing
    still_held = select(held.c.id).where(held.c.state.in_(OPEN))
    _delete(ledger, decision, and_(decision.c.received < before, decision.c.id.not_in(still_held)))
    _delete_deliveries(ledger, before)
    _delete(ledger, held, and_(held.c.changed < before, held.c.state.not_in(OPEN)))
    segment = tables.segment
    with ledger.connection() as connection:
        over = or_(
            and_(standing.c.change.in_(("resumed", "unlimited")), standing.c.time < before),
            and_(standing.c.until > 0, standing.c.until < before),
        )
        connection.execute(delete(standing).where(over))
        names = set(connection.execute(select(segment.c.name)).scalars()) - waiting
        if names:
            connection.execute(
                delete(segment).where(segment.c.name == bindparam("gone")), [{"gone": name} for name in names]
            )


def _delete(ledger: Ledger, table: Table, which: ColumnElement[bool]) -> None:
    (key,) = table.primary_key.columns
    while True:
        with ledger.connection() as connection:
            portion = select(key).where(which).limit(PORTION).scalar_subquery()
            if connection.execute(delete(table).where(key.in_(portion))).rowcount < PORTION:
                return


def _delete_deliveries(ledger: Ledger, before: float) -> None:
    """Their numbers grow with time, so the oldest come first; an index by time would cost every message something."""
    table = tables.delivery
    while True:
        with ledger.connection() as connection:
            oldest = connection.execute(select(table.c.serial, table.c.time).order_by(table.c.serial).limit(PORTION))
            gone = [serial for serial, time in oldest if time < before]
            if gone:
                connection.execute(delete(table).where(table.c.serial <= max(gone), table.c.time < before))
            if len(gone) < PORTION:
                return
