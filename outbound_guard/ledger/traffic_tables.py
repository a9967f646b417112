"""The schema of the roll-up of traffic, and of what became of held mail. A change needs a migration, as in `tables`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from outbound_guard.ledger.schema import SERIAL, metadata

# Decisions by hour (unix seconds / 3600), account and action; those of all accounts together stand under account ''.
# Filled in the transaction that puts the decisions in, so that each of them counts once.
traffic = Table(
    "traffic",
    metadata,
    Column("hour", Integer, nullable=False),
    Column("account", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("recipients", BigInteger, nullable=False),
    # The highest score.
    Column("top", Double, nullable=False),
    # The hour first: what is written now lies together.
    PrimaryKeyConstraint("hour", "account", "action"),
    Index("traffic_account", "account", "hour"),
    sqlite_with_rowid=False,
)

# Each change of a held message; `held` itself has the last one only.
held_change = Table(
    "held_change",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("time", Double, nullable=False),
    Column("to", String(32), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due", Double, nullable=False),
    Index("held_change_id", "id"),
)
