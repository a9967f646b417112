"""Statements that are spelled once and then given many rows: what each message adds to the ledger.

SQLAlchemy spells them for the database at hand. What else it does, for each statement and each row, costs several times
what SQLite itself needs for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg


def but_serial(table: Table) -> list[str]:
    """The table's columns without the one that the database fills in by itself."""
    return [column.name for column in table.columns if column.name != "serial"]


def _as_it_is(statement: Any) -> Any:
    return statement.on_conflict_do_nothing()


class Prepared:
    """An INSERT into `table`, of the columns `names` in the table's order, all of them by default."""

    def __init__(self, table: Table, names: Sequence[str] = (), conflict: Callable[[Any], Any] = _as_it_is) -> None:
        """`conflict` adds what becomes of a row that is there already: nothing by default. It binds no values."""
        self._table, self._conflict = table, conflict
        self.names = tuple(names) or tuple(column.name for column in table.columns)
        self._texts: dict[str, str] = {}

    def run(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """Put the rows in, each a value for each of `names`. Raises what the database raises."""
        if rows:
            name = connection.dialect.name
            connection.exec_driver_sql(self._texts.get(name) or self._spell(name), rows)

    def _spell(self, name: str) -> str:
        # SQLAlchemy's annotations stop short of its dialects.
        made: Any = psycopg.dialect if name == "postgresql" else sqlite.dialect
        # Values by their place: a tuple is made faster than a dictionary, and read faster too.
        dialect = made(paramstyle="format" if name == "postgresql" else "qmark")
        insert = postgresql.insert if name == "postgresql" else sqlite.insert
        # Inline: nobody asks which numbers the rows were given.
        statement = self._conflict(insert(self._table)).values(dict.fromkeys(self.names)).inline()
        compiled = statement.compile(dialect=dialect)
        if tuple(compiled.positiontup) != self.names:
            raise ValueError(f"not the columns of {self._table.name} in their order: {', '.join(self.names)}")
        text = self._texts[name] = str(compiled)
        return text
