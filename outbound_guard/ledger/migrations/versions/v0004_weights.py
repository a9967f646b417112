"""What the weights of the signals are multiplied by in this installation, and how that came about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "weight",
        sa.Column("signal", sa.String(64), primary_key=True),
        sa.Column("factor", sa.Double(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
    )
    op.create_table(
        "weight_history",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("signal", sa.String(64), nullable=False),
        sa.Column("change", sa.String(16), nullable=False),
        sa.Column("factor_from", sa.Double(), nullable=False),
        sa.Column("factor_to", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.String(64), nullable=False),
        sa.Column("finding", sa.String(16), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("text", sa.String(32), nullable=False),
    )
    op.create_index("weight_history_message", "weight_history", ["message"])
    op.create_index("weight_history_time", "weight_history", ["time"])
