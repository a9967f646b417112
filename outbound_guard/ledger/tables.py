"""The schema of the ledger. A change here needs a migration (migrations/versions); a test compares the two.

Times are unix seconds. Ids are those of the messages; they sort by time. Lists and signals are JSON texts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite gives out numbers by itself only for a column of type INTEGER.
_Serial = BigInteger().with_variant(Integer(), "sqlite")

decision = Table(
    "decision",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("received", Double, nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("sender_kind", String(32), nullable=False),
    Column("source", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("recipients", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("score", Double, nullable=False),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("signals", Text, nullable=False),
    Column("answered", Text, nullable=False),
    Index("decision_received", "received"),
    Index("decision_account", "account", "received"),
    Index("decision_sender", "sender", "received"),
)

# Who a message was for, to find it by its recipient.
recipient = Table(
    "recipient",
    metadata,
    Column("address", Text, nullable=False),
    Column("decision", String(64), ForeignKey("decision.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("decision", "address"),
    Index("recipient_address", "address"),
    # Kept in the order of its key, which for SQLite has to be said.
    sqlite_with_rowid=False,
)

delivery = Table(
    "delivery",
    metadata,
    Column("serial", _Serial, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("time", Double, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    Index("delivery_id", "id"),
)

# One row for each message that is or was held. What it is about stands in its decision.
held = Table(
    "held",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("received", Double, nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    # held | quarantine, then released | deleted | returned | expired | missing
    Column("state", String(32), nullable=False),
    Column("changed", Double, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due", Double, nullable=False),
    Index("held_state", "state", "received"),
    Index("held_account", "account", "received"),
    Index("held_sender", "sender", "received"),
)

# The last word on each subject: `kind` is suspension, limit or exemption; `change` says whether it is on.
standing = Table(
    "standing",
    metadata,
    Column("scope", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("change", String(16), nullable=False),
    Column("account", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("limits", Text, nullable=False),
    PrimaryKeyConstraint("scope", "subject", "kind"),
)

standing_history = Table(
    "standing_history",
    metadata,
    Column("serial", _Serial, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("change", String(16), nullable=False),
    Column("account", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("limits", Text, nullable=False),
    Index("standing_history_subject", "subject", "time"),
)

audit = Table(
    "audit",
    metadata,
    Column("serial", _Serial, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("audit_time", "time"),
    Index("audit_subject", "subject", "time"),
)

account = Table(
    "account",
    metadata,
    Column("account", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created", Double, nullable=False),
)

# Which account answers for a sender. `pattern` is an address, a sender, or has `*` in it.
sender_account = Table(
    "sender_account",
    metadata,
    Column("pattern", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Index("sender_account_account", "account"),
)

# The journal's segments that are in the ledger: one that is met again is not put in twice.
segment = Table(
    "segment",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("taken", Double, nullable=False),
)

# Grows whenever standings or the directory change, so that the copies in memory know when to read them again.
revision = Table(
    "revision",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
