"""What lists of held mail show, without its decision; fingerprints of texts; decisions about many messages at once."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

from outbound_guard.ledger.held_columns import OPEN, shown_of
from outbound_guard.mail import Signal

revision = "0006"
down_revision = "0005"

_PORTION = 1000
"""Rows that are read and written at a time."""


def upgrade() -> None:
    """Add the columns, and fill them in for what is or was held. Which texts had been sent before is not known."""
    op.add_column("decision", sa.Column("text", sa.String(16), nullable=False, server_default=""))
    op.create_index("decision_text", "decision", ["text", "received"])
    for column in (
        sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("mail_from", sa.Text(), nullable=False, server_default=""),
        sa.Column("recipients", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("recipient_count", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("subject", sa.Text(), nullable=False, server_default=""),
        sa.Column("action", sa.String(32), nullable=False, server_default=""),
        sa.Column("score", sa.Double(), nullable=False, server_default="0"),
        sa.Column("size", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("text", sa.String(16), nullable=False, server_default=""),
        sa.Column("returnable", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("signals", sa.Text(), nullable=False, server_default=""),
        sa.Column("search", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("held", column)
    _fill(op.get_bind())
    counted = ["received", "state", "score", "size", "returnable", "id"]
    op.create_index("held_open_account", "held", ["open", "account", *counted, "sender", "text"])
    op.create_index("held_open_sender", "held", ["open", "sender", *counted, "account", "text"])
    op.create_index("held_open_text", "held", ["open", "text", *counted, "account", "sender"])
    searched = ["account", "sender", "text", "action", "signals", "search"]
    op.create_index("held_open_received", "held", ["open", *counted, *searched])
    op.create_index("held_open_score", "held", ["open", "score", "state"])
    op.create_index("held_open_size", "held", ["open", "size", "state"])
    op.create_table(
        "bulk_action",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("act", sa.String(16), nullable=False),
        sa.Column("teach", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("meant", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("remarks", sa.Text(), nullable=False),
    )
    op.create_index("bulk_action_state", "bulk_action", ["state", "due"])
    op.create_index("bulk_action_time", "bulk_action", ["time"])
    op.create_table(
        "bulk_item",
        sa.Column("bulk", sa.String(64), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bulk", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("bulk_item_message", "bulk_item", ["id", "state"])
    op.create_index("bulk_item_state", "bulk_item", ["bulk", "state"])


def _fill(connection: sa.Connection) -> None:
    made = ("mail_from", "recipients", "recipient_count", "subject", "returnable", "signals", "search")
    names = (*made, "action", "score", "size")
    held = sa.table("held", *(sa.column(name) for name in ("id", "state", "sender", "open", *names)))
    decision = sa.table(
        "decision",
        *(
            sa.column(name)
            for name in (
                *("id", "account", "sender", "mail_from", "recipients", "subject", "signals"),
                *("action", "score", "size"),
            )
        ),
    )
    connection.execute(sa.update(held).where(held.c.state.in_(OPEN)).values(open=sa.true()))
    change = (
        sa.update(held)
        .where(held.c.id == sa.bindparam("which"))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )
    last = ""
    while True:
        query = sa.select(decision).where(decision.c.id.in_(sa.select(held.c.id).where(held.c.id > last)))
        # By parts in the order of the key: a ledger may hold more than fits into memory.
        query = query.where(decision.c.id > last).order_by(decision.c.id).limit(_PORTION)
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        connection.execute(change, [_new(row) for row in rows])
        last = rows[-1]["id"]


def _new(row: sa.RowMapping) -> dict[str, object]:
    recipients = msgspec.json.decode(row["recipients"], type=tuple[str, ...])
    signals = msgspec.json.decode(row["signals"], type=tuple[Signal, ...])
    values = shown_of(row["account"], row["sender"], row["mail_from"], recipients, row["subject"], signals)
    values |= {name: row[name] for name in ("action", "score", "size")}
    return {"which": row["id"]} | {f"new_{name}": value for name, value in values.items()}
