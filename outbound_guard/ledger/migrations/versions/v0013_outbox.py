"""The outbox: what somebody is to be told, and how telling them goes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables. What happened before is told to nobody."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "outbox",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("to", sa.String(64), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last", sa.Double(), nullable=False),
        sa.Column("routed", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("key", name="outbox_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_time", "outbox", ["time"])
    op.create_index("outbox_account", "outbox", ["account", "time"])
    op.create_index("outbox_unrouted", "outbox", ["routed", "due"])
    op.create_table(
        "outbox_sending",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("notice", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("grouped", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried", sa.Double(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("letter", sa.String(64), nullable=False),
        sa.Column("addressee", sa.String(64), nullable=False),
        sa.UniqueConstraint("notice", "route", name="outbox_sending_once"),
        sqlite_autoincrement=True,
    )
    waiting, mailed = sa.text("state = 'waiting'"), sa.text("addressee <> ''")
    op.create_index(
        "outbox_sending_addressee",
        "outbox_sending",
        ["addressee", "tried"],
        sqlite_where=mailed,
        postgresql_where=mailed,
    )
    op.create_index("outbox_sending_due", "outbox_sending", ["due"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("outbox_sending_state", "outbox_sending", ["state", "route"])
    op.create_index("outbox_sending_letter", "outbox_sending", ["letter"])
    op.create_index("outbox_sending_grouped", "outbox_sending", ["route", "grouped", "tried"])
