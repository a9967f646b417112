"""Changes of the signals' factors become rows: the newest is in force, all are kept."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from outbound_guard.ledger import tables
from outbound_guard.ledger.records import WeightChange
from outbound_guard.ledger.schema import upsert


def weight_changes(connection: Connection, records: list[WeightChange]) -> None:
    """Put changes in; an older one never takes the place of a newer. Raises what the database raises."""
    connection.execute(tables.weight_history.insert(), [msgspec.structs.asdict(r) for r in records])
    statement = upsert(connection, tables.weight)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["signal"],
            set_={name: statement.excluded[name] for name in ("factor", "time", "by")},
            where=tables.weight.c.time <= statement.excluded.time,
        ),
        [{"signal": r.signal, "factor": r.factor_to, "time": r.time, "by": r.by} for r in records],
    )
