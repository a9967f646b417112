"""Who was seen, notes about accounts, orders to erase them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the tables, and put in who is known already."""
    op.create_table(
        "account_seen",
        sa.Column("account", sa.Text, primary_key=True, nullable=False),
        sa.Column("first", sa.Double, nullable=False),
        sa.Column("last", sa.Double, nullable=False),
    )
    op.create_index("account_seen_last", "account_seen", ["last"])
    op.create_table(
        "sender_seen",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("first", sa.Double, nullable=False),
        sa.Column("last", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("account", "sender"),
    )
    op.create_index("sender_seen_sender", "sender_seen", ["sender"])
    op.create_index("sender_seen_last", "sender_seen", ["last"])
    op.create_table(
        "account_note",
        sa.Column("id", sa.String(64), primary_key=True, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("account_note_account", "account_note", ["account", "time"])
    op.create_index("account_note_subject", "account_note", ["subject", "time"])
    op.create_table(
        "erasure",
        sa.Column("id", sa.String(64), primary_key=True, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("keep_suspension", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("changed", sa.Double, nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
    )
    op.create_index("erasure_state", "erasure", ["state"])
    op.create_index("standing_account", "standing", ["account"])
    op.create_index("standing_history_account", "standing_history", ["account", "time"])
    _fill()


def _fill() -> None:
    decision = sa.table("decision", *map(sa.column, ("account", "sender", "sender_kind", "received")))
    account_seen = sa.table("account_seen", *map(sa.column, ("account", "first", "last")))
    sender_seen = sa.table("sender_seen", *map(sa.column, ("account", "sender", "kind", "first", "last")))
    account = sa.table("account", *map(sa.column, ("account", "created")))
    standing = sa.table("standing", *map(sa.column, ("scope", "subject", "account", "time")))
    first, last = sa.func.min(decision.c.received), sa.func.max(decision.c.received)
    senders = sa.select(decision.c.account, decision.c.sender, sa.func.max(decision.c.sender_kind), first, last)
    senders = senders.group_by(decision.c.account, decision.c.sender)
    op.execute(sender_seen.insert().from_select(["account", "sender", "kind", "first", "last"], senders))
    names = ["account", "first", "last"]
    seen = sa.select(sender_seen.c.account, sa.func.min(sender_seen.c.first), sa.func.max(sender_seen.c.last))
    op.execute(account_seen.insert().from_select(names, seen.group_by(sender_seen.c.account)))
    known = sa.select(account_seen.c.account)
    entered = sa.select(account.c.account, account.c.created, account.c.created)
    op.execute(account_seen.insert().from_select(names, entered.where(account.c.account.not_in(known))))
    subject = sa.case((standing.c.scope == "account", standing.c.subject), else_=standing.c.account)
    stood = sa.select(subject, sa.func.min(standing.c.time), sa.func.max(standing.c.time)).group_by(subject)
    op.execute(account_seen.insert().from_select(names, stood.where(subject.not_in(known), subject != "")))
