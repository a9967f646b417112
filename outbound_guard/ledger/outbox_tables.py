"""The schema of the outbox: what somebody is to be told, and how telling them goes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from outbound_guard.ledger.schema import SERIAL, metadata, only

# What somebody is to be told. `key` is made from the fact, so that a fact is told once; `count` says how often it came.
outbox = Table(
    "outbox",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False),
    Column("time", Double, nullable=False),
    # One of outbox_records.KINDS.
    Column("kind", String(32), nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("data", Text, nullable=False),
    # The one route it is for; empty: those that the configuration names.
    Column("to", String(64), nullable=False),
    Column("due", Double, nullable=False),
    Column("count", Integer, nullable=False),
    # When the last of `count` was.
    Column("last", Double, nullable=False),
    # False until it stands in `outbox_sending` for each route that it goes by.
    Column("routed", Boolean, nullable=False),
    UniqueConstraint("key", name="outbox_key"),
    Index("outbox_time", "time"),
    Index("outbox_account", "account", "time"),
    Index("outbox_unrouted", "routed", "due"),
    # A number never comes again: rows of `outbox_sending` name it.
    sqlite_autoincrement=True,
)

# One row for each notice and route that it goes by.
outbox_sending = Table(
    "outbox_sending",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("notice", BigInteger, nullable=False),
    Column("route", String(64), nullable=False),
    # waiting | sent | failed (given up) | left_out (nobody to tell, or not wanted any more)
    Column("state", String(16), nullable=False),
    # What is sent together has the same group; empty: alone.
    Column("grouped", Text, nullable=False),
    Column("created", Double, nullable=False),
    # When it is tried (again), and until when at all.
    Column("due", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tried", Double, nullable=False),
    # What the other side answered last, or why it was not reached; no personal data.
    Column("answer", Text, nullable=False),
    # The id that it was sent with, given before the first try and kept: by it a receiver knows what it has already.
    Column("letter", String(64), nullable=False),
    # A digest of the address it went to, by which letters to one address are counted; empty if it was no mail.
    Column("addressee", String(64), nullable=False),
    UniqueConstraint("notice", "route", name="outbox_sending_once"),
    Index("outbox_sending_due", "due", **only("state = 'waiting'")),
    Index("outbox_sending_state", "state", "route"),
    Index("outbox_sending_addressee", "addressee", "tried", **only("addressee <> ''")),
    Index("outbox_sending_letter", "letter"),
    Index("outbox_sending_grouped", "route", "grouped", "tried"),
    sqlite_autoincrement=True,
)
