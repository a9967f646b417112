"""Questions to the ledger about the classes of senders. Sync; all raise LedgerError."""

from __future__ import annotations

import msgspec
from sqlalchemy import func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import class_change, sender_class


class ClassOf(msgspec.Struct, frozen=True):
    """A sender's class."""

    account: str
    sender: str
    class_: str = msgspec.field(name="class")
    time: float
    """Since when (unix seconds)."""
    reason: str = ""


class ClassChanged(msgspec.Struct, frozen=True):
    """A sender came into another class."""

    time: float
    account: str
    sender: str
    class_from: str
    """Empty: it was its first."""
    class_to: str
    reason: str


def newest(ledger: Ledger, most: int) -> tuple[list[ClassOf], int]:
    """The senders whose class changed last, the oldest of them first, and the serial number to go on from."""
    query = select(sender_class).order_by(sender_class.c.time.desc()).limit(most)
    with ledger.connection() as connection:
        # Read first: what comes while the rest is read is then read again.
        serial = connection.execute(select(func.max(class_change.c.serial))).scalar() or 0
        rows = connection.execute(query).mappings().all()
    return [
        ClassOf(*(row[name] for name in ("account", "sender", "class", "time", "reason"))) for row in rows[::-1]
    ], serial


def changes_since(ledger: Ledger, serial: int, most: int = 5000) -> tuple[list[ClassOf], int]:
    """What changed after the change with this serial number, oldest first, and the number to go on from."""
    query = select(class_change).where(class_change.c.serial > serial).order_by(class_change.c.serial).limit(most)
    with ledger.connection() as connection:
        rows = connection.execute(query).mappings().all()
    found = [ClassOf(row["account"], row["sender"], row["class_to"], row["time"], row["reason"]) for row in rows]
    return found, rows[-1]["serial"] if rows else serial


def class_now(ledger: Ledger, account: str, sender: str) -> ClassOf | None:
    """The class that a sender's last mail had; None if it is not known."""
    query = select(sender_class).where(sender_class.c.account == account, sender_class.c.sender == sender)
    with ledger.connection() as connection:
        row = connection.execute(query).mappings().first()
    return ClassOf(*(row[name] for name in ("account", "sender", "class", "time", "reason"))) if row else None


def changes(ledger: Ledger, account: str, sender: str = "", limit: int = 50) -> list[ClassChanged]:
    """How the classes of an account's senders changed, or of one of them; newest first."""
    names = ("time", "account", "sender", "class_from", "class_to", "reason")
    query = select(*(class_change.c[name] for name in names)).where(class_change.c.account == account)
    if sender:
        query = query.where(class_change.c.sender == sender)
    query = query.order_by(class_change.c.time.desc(), class_change.c.serial.desc()).limit(limit)
    with ledger.connection() as connection:
        return [ClassChanged(**row) for row in connection.execute(query).mappings()]
