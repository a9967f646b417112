"""What all tables of the ledger belong to; the tables themselves stand in `tables` and `user_tables`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, text

metadata = MetaData()


def only(condition: str) -> dict[str, Any]:
    """Of an index: only the rows for which this is true."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}
