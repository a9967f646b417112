"""What the signals have said lately. Sync: called in threads. All raise LedgerError."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import decision
from outbound_guard.ledger.weight_queries import Judged
from outbound_guard.mail import Signal

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])


def judged_lately(ledger: Ledger, since: float, limit: int) -> list[Judged]:
    """What the last messages since then (unix seconds) were judged by, at most `limit`, the newest first."""
    query = (
        select(decision.c.score, decision.c.signals)
        .where(decision.c.received >= since)
        .order_by(decision.c.received.desc())
        .limit(limit)
    )
    with ledger.connection() as connection:
        return [Judged(row.score, _signals.decode(row.signals)) for row in connection.execute(query)]
