"""Findings of reports and logs, and the suppression lists, in SQL. May be done again without harm."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from outbound_guard.ledger import tables
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.records import Feedback, Suppression
from outbound_guard.ledger.schema import upsert

PROGRESS = "feedback"
"""The name in `case_progress` under which is kept how far findings have been learned from."""


def feedbacks(connection: Connection, records: list[Feedback]) -> None:
    """Put findings in that are not known yet; what a message's recipients came to stands among its deliveries too.

    That a recipient's server has taken a message, by its log, is nothing to remember beyond that: it would be a row for
    each.
    """
    by_key = {record.key: record for record in reversed(records)}
    known = known_keys(connection, list(by_key))
    new = [record for key, record in by_key.items() if key not in known]
    new.sort(key=lambda record: record.time)
    rows = [_row(record) for record in new if record.kind != "delivery" or record.outcome != "delivered"]
    if rows:
        connection.execute(upsert(connection, tables.feedback).on_conflict_do_nothing(), rows)
    deliveries = [
        {
            "id": r.message,
            "time": r.time,
            "recipient": r.recipient,
            "code": r.code,
            "enhanced": r.enhanced,
            "text": r.detail,
            "peer": r.peer,
            "final": r.final,
            "source_address": "",
            "about": "",
        }
        for r in new
        if r.kind != "complaint" and r.message and r.counts and r.code
    ]
    if deliveries:
        connection.execute(tables.delivery.insert(), deliveries)


def suppressions(connection: Connection, records: list[Suppression]) -> None:
    """Put recipients on suppression lists, or take them off; the later change counts."""
    names = ("account", "address", "change", "time", "why", "message", "detail", "by")
    latest: dict[tuple[str, str], Suppression] = {}
    for record in sorted(records, key=lambda record: record.time):
        latest[record.account, record.address] = record
    table = tables.suppression
    # One process alone writes.
    revision = int(connection.execute(select(func.max(table.c.revision))).scalar() or 0)
    statement = upsert(connection, table)
    statement = statement.on_conflict_do_update(
        index_elements=["account", "address"],
        set_={name: statement.excluded[name] for name in (*names[2:], "revision")},
        where=table.c.time <= statement.excluded.time,
    )
    rows = enumerate(latest.values(), revision + 1)
    connection.execute(statement, [{name: getattr(r, name) for name in names} | {"revision": n} for n, r in rows])


def known_keys(connection: Connection, keys: list[str]) -> set[str]:
    """Those of the keys that are in the ledger."""
    column = tables.feedback.c.key
    found: set[str] = set()
    for some in portions(keys):
        query = select(column).where(column.in_(some))
        found.update(connection.execute(query).scalars())
    return found


def note_progress(ledger: Ledger, serial: int) -> None:
    """Write down that findings up to `serial` are learned from. For the writer alone. Raises LedgerError."""
    with ledger.connection() as connection:
        table = tables.case_progress
        statement = upsert(connection, table)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_={"serial": statement.excluded.serial})
        connection.execute(statement, [{"name": PROGRESS, "serial": serial}])


def _row(record: Feedback) -> dict[str, Any]:
    names = [column.name for column in tables.feedback.columns if column.name != "serial"]
    return {name: getattr(record, "class_" if name == "class" else name) for name in names}
