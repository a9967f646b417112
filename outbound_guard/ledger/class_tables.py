"""The schema of the classes of senders: the one each has, and how they changed."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, PrimaryKeyConstraint, String, Table, Text

from outbound_guard.ledger.schema import SERIAL, metadata

sender_class = Table(
    "sender_class",
    metadata,
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("class", String(16), nullable=False),
    # Since when.
    Column("time", Double, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("account", "sender"),
    Index("sender_class_time", "time"),
)

class_change = Table(
    "class_change",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    # Empty: it was the first.
    Column("class_from", String(16), nullable=False),
    Column("class_to", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Index("class_change_account", "account", "time"),
    sqlite_autoincrement=True,
)
