"""Alembic's entry: runs the steps on the connection that `Ledger.migrate` hands over."""

from __future__ import annotations

from alembic import context

from outbound_guard.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can do it too, so a step that fails leaves nothing behind.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
