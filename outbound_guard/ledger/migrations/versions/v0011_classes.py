"""The class each sender has and had, and the pools that people pin accounts and senders to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables, and add the column to the standings."""
    op.create_table(
        "sender_class",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("class", sa.String(16), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "sender"),
    )
    op.create_index("sender_class_time", "sender_class", ["time"])
    op.create_table(
        "class_change",
        sa.Column("serial", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("class_from", sa.String(16), nullable=False),
        sa.Column("class_to", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("class_change_account", "class_change", ["account", "time"])
    for table in ("standing", "standing_history"):
        op.add_column(table, sa.Column("pool", sa.String(64), nullable=False, server_default=""))
