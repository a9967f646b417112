"""The first schema: decisions, deliveries, held mail, standings, audit, the directory."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "decision",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("sender_kind", sa.String(32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("client_ip", sa.String(64), nullable=False),
        sa.Column("mail_from", sa.Text(), nullable=False),
        sa.Column("recipients", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("signals", sa.Text(), nullable=False),
        sa.Column("answered", sa.Text(), nullable=False),
    )
    op.create_index("decision_account", "decision", ["account", "received"])
    op.create_index("decision_received", "decision", ["received"])
    op.create_index("decision_sender", "decision", ["sender", "received"])
    op.create_table(
        "recipient",
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("decision", sa.String(64), sa.ForeignKey("decision.id", ondelete="CASCADE"), nullable=False),
        sa.PrimaryKeyConstraint("decision", "address"),
        sqlite_with_rowid=False,
    )
    op.create_index("recipient_address", "recipient", ["address"])
    op.create_table(
        "delivery",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("enhanced", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
    )
    op.create_index("delivery_id", "delivery", ["id"])
    op.create_table(
        "held",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("changed", sa.Double(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
    )
    op.create_index("held_account", "held", ["account", "received"])
    op.create_index("held_sender", "held", ["sender", "received"])
    op.create_index("held_state", "held", ["state", "received"])
    op.create_table(
        "standing",
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("change", sa.String(16), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "kind"),
    )
    op.create_table(
        "standing_history",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("change", sa.String(16), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
    )
    op.create_index("standing_history_subject", "standing_history", ["subject", "time"])
    op.create_table(
        "audit",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("what", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_index("audit_subject", "audit", ["subject", "time"])
    op.create_index("audit_time", "audit", ["time"])
    op.create_table(
        "account",
        sa.Column("account", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
    )
    op.create_table(
        "sender_account",
        sa.Column("pattern", sa.Text(), primary_key=True),
        sa.Column("account", sa.Text(), nullable=False),
    )
    op.create_index("sender_account_account", "sender_account", ["account"])
    op.create_table(
        "segment",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("taken", sa.Double(), nullable=False),
    )
    op.create_table(
        "revision",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
