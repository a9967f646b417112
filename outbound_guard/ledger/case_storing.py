"""Cases in SQL: events are added, and what follows from them is worked out anew from all events of the case.

So an event may come twice, and events may come in any order: in the end the case is the same.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Table, delete, insert, select

from outbound_guard.ledger import tables
from outbound_guard.ledger.outbox_storing import of_case_events
from outbound_guard.ledger.records import CaseCheck, CaseEvent, CaseSubject
from outbound_guard.ledger.schema import upsert

Row = dict[str, Any]

_json = msgspec.json.Encoder().encode

EMPTY: Row = {
    column.name: 0 if column.type.python_type in (int, float) else "" for column in tables.case_file.columns
} | {"accounts": "[]"}
"""A case before anything is known of it."""


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event changes, as it stands in the column `changes`."""

    fields: dict[str, Any] = {}
    subjects: tuple[CaseSubject, ...] = ()
    checks: dict[str, CaseCheck] = {}


_changes: msgspec.json.Decoder[Changes] = msgspec.json.Decoder(Changes)


def case_events(connection: Connection, records: list[CaseEvent]) -> None:
    """Add events, and bring their cases up to date. Raises what the database raises; the caller rolls back."""
    rows = [
        {
            "id": r.id,
            "case_id": r.case,
            "time": r.time,
            "by": r.by,
            "what": r.what,
            "text": r.text,
            "changes": _json(Changes(_known(r.fields), r.subjects, r.checks)).decode(),
            "data": _json(r.data).decode(),
        }
        for r in records
    ]
    connection.execute(upsert(connection, tables.case_event).on_conflict_do_nothing(), rows)
    of_case_events(connection, records)
    for case in dict.fromkeys(r.case for r in records):
        rebuild(connection, case)


def set_progress(connection: Connection, name: str, serial: int) -> None:
    """Note how far something has been followed."""
    statement = upsert(connection, tables.case_progress).values(name=name, serial=serial)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"serial": statement.excluded.serial})
    )


def _known(fields: Row) -> Row:
    return {name: value for name, value in fields.items() if name in EMPTY and name != "id"}


def rebuild(connection: Connection, case: str) -> None:
    """Work out anew what follows from the events of a case."""
    event = tables.case_event
    query = select(event.c.time, event.c.by, event.c.changes).where(event.c.case_id == case)
    file = EMPTY | {"id": case}
    subjects: dict[tuple[str, str], CaseSubject] = {}
    checks: dict[str, Row] = {}
    for time, by, text in connection.execute(query.order_by(event.c.time, event.c.serial)):
        changes = _changes.decode(text)
        file |= changes.fields | {"changed": time}
        subjects |= {(subject.subject, subject.source): subject for subject in changes.subjects}
        for item, check in changes.checks.items():
            checks[item] = {
                "state": check.state,
                "time": time,
                "by": by,
                "evidence": check.evidence,
                "data": _json(check.data).decode(),
            }
    if isinstance(file["accounts"], list):
        file["accounts"] = _json(file["accounts"]).decode()
    _replace(connection, tables.case_file, tables.case_file.c.id == case, [file] if file["opened"] else [])
    _replace(
        connection,
        tables.case_subject,
        tables.case_subject.c.case_id == case,
        [{"case_id": case} | msgspec.structs.asdict(subject) for subject in subjects.values()],
    )
    _replace(
        connection,
        tables.case_check,
        tables.case_check.c.case_id == case,
        [{"case_id": case, "item": item} | check for item, check in checks.items()],
    )


def _replace(connection: Connection, table: Table, which: Any, rows: list[Row]) -> None:
    connection.execute(delete(table).where(which))
    if rows:
        connection.execute(insert(table), rows)
