"""The classes of senders in SQL. May be done again without harm."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from outbound_guard.ledger import tables
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.records import ClassChange
from outbound_guard.ledger.schema import upsert

_AT_ONCE = 20
"""Few: each account is looked up with each sender."""

Row = dict[str, Any]


def class_changes(connection: Connection, records: list[ClassChange]) -> None:
    """Write down who is in another class now. What was known already, or is older than what is known, is left out."""
    known = _known(connection, {(record.account, record.sender) for record in records})
    changes: list[Row] = []
    for record in sorted(records, key=lambda record: record.time):
        whose = (record.account, record.sender)
        before, since = known.get(whose, ("", 0.0))
        if record.class_ == before or record.time < since:
            continue
        known[whose] = (record.class_, record.time)
        row = {"time": record.time, "account": record.account, "sender": record.sender, "reason": record.reason}
        changes.append(row | {"class_from": before, "class_to": record.class_})
    if not changes:
        return
    connection.execute(tables.class_change.insert(), changes)
    now = {(row["account"], row["sender"]): row for row in changes}
    statement = upsert(connection, tables.sender_class)
    statement = statement.on_conflict_do_update(
        index_elements=["account", "sender"],
        set_={name: statement.excluded[name] for name in ("class", "time", "reason")},
    )
    connection.execute(
        statement,
        [
            {name: row[name] for name in ("account", "sender", "time", "reason")} | {"class": row["class_to"]}
            for row in now.values()
        ],
    )


def _known(connection: Connection, senders: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, float]]:
    """Class and time of senders, each with its account; of some more, whose account and name are both asked about.

    By two lists, since SQLite looks through the whole table for a list of pairs, and since a condition for each pair is
    another statement for each number of them, which SQLAlchemy would all keep.
    """
    table = tables.sender_class
    found: dict[tuple[str, str], tuple[str, float]] = {}
    for pairs in portions(sorted(senders), _AT_ONCE):
        accounts, names = {account for account, _ in pairs}, {sender for _, sender in pairs}
        query = select(table).where(table.c.account.in_(accounts), table.c.sender.in_(names))
        for row in connection.execute(query).mappings():
            found[row["account"], row["sender"]] = (row["class"], row["time"])
    return found
