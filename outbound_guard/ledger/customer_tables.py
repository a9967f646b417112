"""The schema of links to the customers' page and of answers. A change here needs a migration, as in `tables`."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, PrimaryKeyConstraint, String, Table, Text

from outbound_guard.ledger.schema import metadata

# `hash` is the SHA-256 of the link's secret together with account, end and contact: who reads the ledger has no link,
# and a row of which one of them was changed fits none. `revoked` 0: it was not.
customer_link = Table(
    "customer_link",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("account", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    # The SHA-256 of whom it was made for: the contact may be another one meanwhile.
    Column("contact", String(64), nullable=False),
    Column("expires", Double, nullable=False),
    Column("revoked", Double, nullable=False),
    # How often it was opened, and when last (0: never). Programs that look at mail open links too.
    Column("opened", Integer, nullable=False),
    Column("last_opened", Double, nullable=False),
    Index("customer_link_account", "account", "time"),
)

# One answer for each link and sender. `answer`: me | not_me | undone.
customer_answer = Table(
    "customer_answer",
    metadata,
    Column("link", String(16), nullable=False),
    Column("sender", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("answer", String(16), nullable=False),
    # Messages that were let go with it, and the decision about them; none of both after an undo.
    Column("messages", Integer, nullable=False),
    Column("bulk", String(64), nullable=False),
    # When, and how, its sender offended within a day after that; 0: not.
    Column("offended", Double, nullable=False),
    Column("offence", Text, nullable=False),
    PrimaryKeyConstraint("link", "sender"),
    Index("customer_answer_account", "account", "time"),
    Index("customer_answer_time", "time"),
)

# Accounts whose customers may not release mail themselves (`change`: closed), or may again (opened).
customer_release = Table(
    "customer_release",
    metadata,
    Column("account", Text, primary_key=True),
    Column("time", Double, nullable=False),
    Column("change", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
