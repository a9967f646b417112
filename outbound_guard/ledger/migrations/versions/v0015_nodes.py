"""Several hosts on one ledger: who they are, which of them does what one alone may do, and where a message lies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the tables, and add the columns. Of what was stored before, the host is not known."""
    op.create_table(
        "node",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("console", sa.Text(), nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
    )
    op.create_table(
        "erasure_node",
        sa.Column("erasure", sa.String(64), nullable=False),
        sa.Column("node", sa.String(255), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("erasure", "node"),
    )
    for table in ("decision", "held", "segment"):
        op.add_column(table, sa.Column("node", sa.String(255), nullable=False, server_default=""))
