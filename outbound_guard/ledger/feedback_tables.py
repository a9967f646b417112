"""The schema of what the world answers later: findings of reports and logs, and the suppression lists."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from outbound_guard.ledger.schema import SERIAL, metadata, only

# One row for each finding. `key` is made from the fact, so that a fact that is reported twice counts once. `message` is
# our id of the message it is about, empty if none was found; `counts`: it is proven to be, and speaks about the sender.
feedback = Table(
    "feedback",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False),
    Column("time", Double, nullable=False),
    # complaint | bounce | delivery
    Column("kind", String(16), nullable=False),
    # Of complaints the type (RFC 5965), else the class of the answer.
    Column("class", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("sender_kind", String(32), nullable=False),
    Column("recipient", Text, nullable=False),
    Column("message", String(64), nullable=False),
    Column("source", Text, nullable=False),
    Column("proof", String(16), nullable=False),
    Column("counts", Boolean, nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    # The fingerprint of the message's text, as in `decision`.
    Column("text", String(16), nullable=False),
    UniqueConstraint("key", name="feedback_key"),
    Index("feedback_time", "time"),
    Index("feedback_account", "account", "time"),
    Index("feedback_message", "message", **only("message <> ''")),
    Index("feedback_text", "text", "sender", **only("text <> '' and kind = 'complaint'")),
    # A number never comes again, whatever is deleted: by it is known what was learned from.
    sqlite_autoincrement=True,
)

# Recipients that an account is not to write to any more: they do not exist, have complained, or a person said so.
# `change`: added | removed. What was removed stays, so that a late record does not bring it back.
suppression = Table(
    "suppression",
    metadata,
    Column("account", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("change", String(16), nullable=False),
    Column("time", Double, nullable=False),
    # unknown_user | complaint | by_hand
    Column("why", String(32), nullable=False),
    Column("message", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("by", Text, nullable=False),
    # Each change has the next number, by which processes find what they do not know yet.
    Column("revision", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account", "address"),
    Index("suppression_address", "address"),
    Index("suppression_revision", "revision"),
)
