"""Questions to the ledger about mail that waits: for a person, its time, in quarantine. Sync; all raise LedgerError.

What waits for a person ends `spool.hold_expiry` seconds after it came in: then it goes back to its sender.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import func, literal_column, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import held

# Word for word as in the index `held_waiting`: only then the databases know that it has all of them.
_FOR_A_PERSON = (held.c.state == literal_column("'held'"), held.c.due == literal_column("0"))


class Waiting(msgspec.Struct, frozen=True):
    """Messages that wait, and since when."""

    person: int
    """Held until a person decides."""
    time: int
    """Held until they are judged anew."""
    quarantine: int
    oldest: float
    """When the oldest that waits for a person came in (unix seconds); 0: none does."""


class Ending(msgspec.Struct, frozen=True):
    """Messages of one account that wait for a person, and end soon."""

    account: str
    messages: int
    first: float
    """When the first of them came in (unix seconds)."""


def waiting(ledger: Ledger) -> Waiting:
    """How much waits now."""
    person = select(func.count(), func.min(held.c.received)).where(*_FOR_A_PERSON)
    states = select(held.c.state, func.count()).where(held.c.state.in_(("held", "quarantine"))).group_by(held.c.state)
    with ledger.connection() as connection:
        number, oldest = connection.execute(person).one()
        by_state: dict[str, int] = dict(connection.execute(states).all())
    return Waiting(number, max(0, by_state.get("held", 0) - number), by_state.get("quarantine", 0), oldest or 0.0)


def ending(ledger: Ledger, received_before: float, limit: int = 0) -> list[Ending]:
    """What waits for a person and came in before then (unix seconds), by account, the most first; `limit` 0: all."""
    number = func.count()
    query = select(held.c.account, number, func.min(held.c.received)).where(*_FOR_A_PERSON)
    query = query.where(held.c.received < received_before).group_by(held.c.account)
    query = query.order_by(number.desc(), held.c.account)
    if limit:
        query = query.limit(limit)
    with ledger.connection() as connection:
        return [Ending(*row) for row in connection.execute(query)]


def ending_count(ledger: Ledger, received_before: float) -> tuple[int, float]:
    """How many messages that is in all, and when the first of them came in (0: there is none)."""
    query = select(func.count(), func.min(held.c.received)).where(*_FOR_A_PERSON, held.c.received < received_before)
    with ledger.connection() as connection:
        number, first = connection.execute(query).one()
    return number, first or 0.0
