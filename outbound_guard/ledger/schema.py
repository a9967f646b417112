"""What all tables of the ledger belong to; the tables themselves stand in `tables` and `user_tables`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, MetaData, Table, text
from sqlalchemy.dialects import postgresql, sqlite

metadata = MetaData()

SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""The type of a row's own number: SQLite counts by itself in an INTEGER alone."""


def only(condition: str) -> dict[str, Any]:
    """Of an index: only the rows for which this is true."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT that can be given ON CONFLICT: both databases spell it alike, SQLAlchemy keeps it in the dialects."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
