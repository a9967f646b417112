"""The schema of the hosts that share a ledger. A change here needs a migration, as in `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, String, Table, Text

from outbound_guard.ledger.schema import metadata

# One row for each host. `identity` is that of its data directory, so that two hosts never go by one name; `console` is
# where people reach its pages, empty if that is not known.
node = Table(
    "node",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("identity", String(64), nullable=False),
    Column("seen", Double, nullable=False),
    Column("console", Text, nullable=False),
)

# Who does what one host alone may do, and until when that is promised, by the database's clock.
lease = Table(
    "lease",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("node", String(255), nullable=False),
    Column("until", Double, nullable=False),
)

# The hosts that have removed their files of an account that is being erased: how often, and how many messages.
erasure_node = Table(
    "erasure_node",
    metadata,
    Column("erasure", String(64), nullable=False),
    Column("node", String(255), nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    PrimaryKeyConstraint("erasure", "node"),
)
