"""Traffic by hour, what became of held mail step by step, and indexes to find messages and acts by."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

from outbound_guard.ledger import traffic_storing
from outbound_guard.ledger.traffic_storing import HOUR, put, reached, rolled_up

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables and indexes, and count the newest whole hours of what is there."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "traffic",
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.Column("top", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "account", "action"),
        sqlite_with_rowid=False,
    )
    op.create_index("traffic_account", "traffic", ["account", "hour"])
    op.create_table(
        "held_change",
        sa.Column("serial", serial, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("to", sa.String(32), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
    )
    op.create_index("held_change_id", "held_change", ["id"])
    # Of a report about a message: which one it is about.
    op.add_column("delivery", sa.Column("about", sa.String(64), nullable=False, server_default=""))
    _partial("delivery_about", "delivery", ["about"], "about <> ''")
    _partial("decision_risk", "decision", ["received", "score", "sender", "account", "action"], "score >= 3")
    _partial("decision_mail_from", "decision", ["mail_from", "received"], "mail_from <> sender")
    op.create_index("decision_message_id", "decision", ["message_id"])
    _partial("held_waiting", "held", ["state", "due", "received", "account"], "state = 'held' AND due = 0")
    op.create_index("audit_by", "audit", ["by", "time"])
    op.create_index("audit_what", "audit", ["what", "time"])
    _count()


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _count() -> None:
    connection = op.get_bind()
    strings = msgspec.json.Decoder(tuple[str, ...])
    newest = sa.text("SELECT received FROM decision ORDER BY received DESC LIMIT 1 OFFSET :most")
    oldest = connection.execute(newest, {"most": traffic_storing.MOST_AT_FIRST}).scalar()
    # The hour in which the limit falls would be known in part only.
    since = 0.0 if oldest is None else (oldest // HOUR + 1) * HOUR
    query = sa.text("SELECT received, account, action, recipients, score FROM decision WHERE received >= :since")
    rows = connection.execute(query, {"since": since})
    counted = ((r.received, r.account, r.action, len(reached(strings.decode(r.recipients))), r.score) for r in rows)
    put(connection, rolled_up(counted))
