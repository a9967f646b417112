"""Users of the console who sign in at an OpenID Connect provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns. Who was there before signs in with a password."""
    for name, length in (("issuer", 255), ("subject", 255), ("shown", 200)):
        op.add_column("console_user", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.create_index("console_user_subject", "console_user", ["issuer", "subject"])
