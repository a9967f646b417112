"""Links to the customers' page and their answers; decisions that wait for a second person; users of some accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables, and add the columns."""
    op.create_table(
        "customer_link",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("contact", sa.String(64), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("last_opened", sa.Double(), nullable=False),
    )
    op.create_index("customer_link_account", "customer_link", ["account", "time"])
    op.create_table(
        "customer_answer",
        sa.Column("link", sa.String(16), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("answer", sa.String(16), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("bulk", sa.String(64), nullable=False),
        sa.Column("offended", sa.Double(), nullable=False),
        sa.Column("offence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("link", "sender"),
    )
    op.create_index("customer_answer_account", "customer_answer", ["account", "time"])
    op.create_index("customer_answer_time", "customer_answer", ["time"])
    op.create_table(
        "customer_release",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("change", sa.String(16), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.add_column("bulk_action", sa.Column("person", sa.String(64), nullable=False, server_default=""))
    op.add_column("bulk_action", sa.Column("delay", sa.Double(), nullable=False, server_default="0"))
    op.add_column("bulk_action", sa.Column("confirmed_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("console_user", sa.Column("accounts", sa.Text(), nullable=False, server_default="[]"))
