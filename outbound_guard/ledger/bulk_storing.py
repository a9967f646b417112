"""Decisions about many held messages become rows. May be done again, and in any order, without harm."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, case, or_, update

from outbound_guard.ledger.records import BulkChange, BulkDone, BulkPlaced
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.tables import bulk_action, bulk_item

PENDING = "pending"


def bulk_placed(connection: Connection, records: list[BulkPlaced]) -> None:
    """Note what was decided, and each message that it is about. Raises what the database raises."""
    connection.execute(
        upsert(connection, bulk_action).on_conflict_do_nothing(),
        [
            {
                "id": r.id,
                "time": r.time,
                "by": r.by,
                "act": r.act,
                "teach": r.teach,
                "reason": r.reason,
                "meant": r.meant,
                "number": len(r.ids),
                "due": r.due,
                "state": "placed",
                "changed": r.time,
                "changed_by": r.by,
                "remarks": "",
            }
            for r in records
        ],
    )
    items = [
        {"bulk": r.id, "id": id_, "state": PENDING, "time": r.time, "detail": ""} for r in records for id_ in r.ids
    ]
    if items:
        connection.execute(upsert(connection, bulk_item).on_conflict_do_nothing(), items)


def bulk_changes(connection: Connection, records: list[BulkChange]) -> None:
    """Note how far they have come; what is done or undone stays so. Raises what the database raises."""
    table = bulk_action
    connection.execute(
        update(table)
        # No IN: its parameters cannot be those of many rows.
        .where(table.c.id == bindparam("which"), or_(table.c.state == "placed", table.c.state == "running"))
        .values(
            state=bindparam("to"),
            changed=bindparam("at"),
            changed_by=bindparam("who"),
            # What was remarked before a crash is not lost by what is remarked after it.
            remarks=case((bindparam("said") == "", table.c.remarks), else_=bindparam("said")),
        ),
        [{"which": r.id, "to": r.state, "at": r.time, "who": r.by, "said": "\n".join(r.remarks)} for r in records],
    )


def bulk_done(connection: Connection, records: list[BulkDone]) -> None:
    """Note what became of messages. Raises what the database raises."""
    table = bulk_item
    rows = [
        {"which": r.id, "message": one.id, "to": one.state, "at": r.time, "said": one.detail}
        for r in records
        for one in r.results
    ]
    if rows:
        connection.execute(
            update(table)
            .where(table.c.bulk == bindparam("which"), table.c.id == bindparam("message"), table.c.state == PENDING)
            .values(state=bindparam("to"), time=bindparam("at"), detail=bindparam("said")),
            rows,
        )
