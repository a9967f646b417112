"""The schema of what is known of accounts besides the directory: who was seen, notes, erasures.

A change here needs a migration, as in `tables`.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, PrimaryKeyConstraint, String, Table, Text

from outbound_guard.ledger.schema import metadata

# Every account that has sent, is in the directory or has a standing, so that a list of them need not ask the decisions.
# `last` lags behind by some minutes, since each message would write it otherwise.
account_seen = Table(
    "account_seen",
    metadata,
    Column("account", Text, primary_key=True),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
    Index("account_seen_last", "last"),
)

# The senders inside them that have sent.
sender_seen = Table(
    "sender_seen",
    metadata,
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("first", Double, nullable=False),
    Column("last", Double, nullable=False),
    PrimaryKeyConstraint("account", "sender"),
    Index("sender_seen_sender", "sender"),
    Index("sender_seen_last", "last"),
)

# What people have written down about an account or a sender. One with an empty text was removed.
account_note = Table(
    "account_note",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("account_note_account", "account", "time"),
    Index("account_note_subject", "subject", "time"),
)

# Orders to erase an account: `state` is waiting, once over (looked at again, since records may have been on their way)
# or done; then the name is gone from here as well. `counts` is JSON: what was removed, by kind.
erasure = Table(
    "erasure",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("keep_suspension", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("changed", Double, nullable=False),
    Column("counts", Text, nullable=False),
    Index("erasure_state", "state"),
)
