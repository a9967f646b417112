"""Questions to the ledger about the signals' factors. Sync: called in threads or on the command line.

All raise LedgerError, but `InForce`, which stays as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from sqlalchemy import RowMapping, select

from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.records import WeightChange
from outbound_guard.ledger.tables import decision, revision, weight, weight_history
from outbound_guard.mail import Signal

REVISION = "weights"
"""The row of the table `revision` that grows whenever `factors` would answer otherwise."""

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])


class Judged(msgspec.Struct, frozen=True):
    """What a message was judged by."""

    score: float
    signals: tuple[Signal, ...]


class InForce:
    """A process's copy of the factors, as last known: a ledger that cannot be read changes nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self.factors: dict[str, float] = {}
        """By signal; those without an entry are 1."""
        self._ledger = ledger
        self._revision = 0

    async def refresh(self) -> bool:
        """Read the factors again if they have changed: True if they had."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bool:
        try:
            # Read first: what changes while the rest is read is then read again the next time.
            number = weights_revision(self._ledger)
            if number == self._revision:
                return False
            known = factors(self._ledger)
        except LedgerError:
            # The directory asks the same ledger as often, and says that it cannot be read.
            return False
        self.factors, self._revision = known, number
        return True


def weights_revision(ledger: Ledger) -> int:
    """Grows whenever a factor changes; 0 if none ever has."""
    with ledger.connection() as connection:
        return connection.execute(select(revision.c.number).where(revision.c.name == REVISION)).scalar() or 0


def factors(ledger: Ledger) -> dict[str, float]:
    """The factor of each signal that has one."""
    with ledger.connection() as connection:
        return dict(connection.execute(select(weight.c.signal, weight.c.factor)).all())


def history(
    ledger: Ledger, *, signal: str = "", message: str = "", since: float = 0.0, limit: int = 0
) -> list[WeightChange]:
    """Changes since then (unix seconds) of one signal, or by one message, or all; newest first. `limit` 0: all."""
    table = weight_history
    query = select(table).order_by(table.c.time.desc(), table.c.serial.desc())
    if signal:
        query = query.where(table.c.signal == signal)
    if message:
        query = query.where(table.c.message == message)
    if since:
        query = query.where(table.c.time >= since)
    if limit:
        query = query.limit(limit)
    with ledger.connection() as connection:
        return [_change_of(row) for row in connection.execute(query).mappings()]


def judged(ledger: Ledger, id_: str) -> Judged | None:
    """What a message was judged by when it came in; None if that is not known (any more)."""
    query = select(decision.c.score, decision.c.signals).where(decision.c.id == id_)
    with ledger.connection() as connection:
        row: Any = connection.execute(query).first()
    return Judged(row.score, _signals.decode(row.signals)) if row else None


def _change_of(row: RowMapping) -> WeightChange:
    return WeightChange(**{name: row[name] for name in WeightChange.__struct_fields__})
