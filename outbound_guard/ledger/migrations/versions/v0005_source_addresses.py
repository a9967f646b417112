"""Which of our addresses a message was tried from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; of what was sent before it is not known."""
    for table in ("decision", "delivery"):
        op.add_column(table, sa.Column("source_address", sa.String(64), nullable=False, server_default=""))
