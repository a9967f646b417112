"""PostgreSQL as the ledger's database: how it is connected to, and what makes its writers take turns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.exc import DataError, OperationalError

TURN = 0x4F475F4C4544  # "OG_LED"
"""The advisory lock that a writer holds for the length of its transaction."""
_LIMIT = "54"
"""The class of errors that say that something is too large, such as a text in an index (SQLSTATE 54000)."""
# What the URL says itself goes before. A server that is away is known within some seconds, and one whose host has
# died without a word too.
_CONNECTING = {
    "application_name": "outbound-guard",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
# Milliseconds. A writer whose host has died in the middle must not keep the others waiting.
_WRITER = ("SET lock_timeout = 20000", "SET idle_in_transaction_session_timeout = 60000")
_READER = ("SET default_transaction_read_only = on", "SET idle_in_transaction_session_timeout = 60000")


def engine(url: str, *, writer: bool) -> Engine:
    """Connections to the server at `url` (`postgresql://...`); those of a reader can change nothing.

    Raises what SQLAlchemy raises for a URL that it cannot use.
    """
    named = make_url(url)
    if named.drivername in ("postgresql", "postgres"):
        named = named.set(drivername="postgresql+psycopg")
    named = named.update_query_dict({name: value for name, value in _CONNECTING.items() if name not in named.query})
    made = create_engine(named, pool_pre_ping=True, pool_size=2, max_overflow=8, hide_parameters=True)

    def connected(connection: Any, _: Any) -> None:
        connection.autocommit = True
        for statement in _WRITER if writer else _READER:
            connection.execute(statement)
        connection.autocommit = False

    event.listen(made, "connect", connected)
    event.listen(made, "handle_error", _told_apart)
    if writer:
        event.listen(made, "begin", _turn)
    return made


def _turn(connection: Connection) -> None:
    """Wait until no other writer is at work, on whatever host: as SQLite does with BEGIN IMMEDIATE.

    So a row's serial is lower than those of rows that can be seen later, whoever follows serials misses none, and what
    a writer has read is still so when it writes.
    """
    if connection.get_execution_options().get("turn", True):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")


def _told_apart(context: ExceptionContext) -> BaseException | None:
    """Says by the exception's class whether the record or the database is at fault, as `BAD_RECORD` has it."""
    original: Any = context.original_exception
    values = (context.statement, None, original)
    if type(original).__name__ == "InterfaceError":
        # The connection is gone. Of SQLite's driver the same class says that a value cannot be used.
        return OperationalError(*values)
    if (getattr(original, "sqlstate", None) or "").startswith(_LIMIT):
        return DataError(*values)
    return None
