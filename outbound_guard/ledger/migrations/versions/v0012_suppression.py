"""Changes of suppression lists have numbers, by which processes that refuse because of them keep up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Number what is there by its time."""
    op.add_column("suppression", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("suppression_revision", "suppression", ["revision"])
    table = sa.table("suppression", *(sa.column(name) for name in ("account", "address", "time", "revision")))
    connection = op.get_bind()
    keys = connection.execute(sa.select(table.c.account, table.c.address).order_by(table.c.time)).all()
    if keys:
        one = (table.c.account == sa.bindparam("of")) & (table.c.address == sa.bindparam("at"))
        update = table.update().where(one).values(revision=sa.bindparam("number"))
        rows = [{"of": account, "at": address, "number": n} for n, (account, address) in enumerate(keys, 1)]
        connection.execute(update, rows)
