"""Decisions about many held messages become rows. May be done again, and in any order, without harm."""

from __future__ import annotations

from sqlalchemy import Connection, and_, bindparam, case, or_, select, update

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.records import BulkChange, BulkDone, BulkPlaced
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.tables import bulk_action, bulk_item

PENDING, WAITING = "pending", "waiting"


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
                "state": WAITING if r.person else "placed",
                "changed": r.time,
                "changed_by": r.by,
                "remarks": "",
                "person": r.person,
                "delay": r.delay,
                "confirmed_by": "",
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
    of_second = [r for r in records if r.state in ("placed", "refused", "expired")]
    if of_second:
        _of_second_person(connection, of_second)
    _change(connection, [r for r in records if r.state == "undone"], (WAITING, "placed", "running"))
    _change(connection, [r for r in records if r.state in ("running", "done")], ("placed", "running"))


def _of_second_person(connection: Connection, records: list[BulkChange]) -> None:
    """Of several people, or of one and the end of the time, the first has decided."""
    table = bulk_action
    connection.execute(
        update(table)
        .where(table.c.id == bindparam("which"), table.c.state == WAITING)
        .values(
            state=bindparam("to"),
            changed=bindparam("at"),
            changed_by=bindparam("who"),
            due=bindparam("then"),
            confirmed_by=bindparam("second"),
        ),
        [
            {"which": r.id, "to": r.state, "at": r.time, "who": r.by, "then": r.due}
            | {"second": r.by if r.state == "placed" else ""}
            for r in records
        ],
    )


def _change(connection: Connection, records: list[BulkChange], from_: tuple[str, ...]) -> None:
    if not records:
        return
    table = bulk_action
    connection.execute(
        update(table)
        # No IN: its parameters cannot be those of many rows.
        .where(table.c.id == bindparam("which"), or_(*(table.c.state == state for state in from_)))
        .values(
            state=bindparam("to"),
            changed=bindparam("at"),
            changed_by=bindparam("who"),
            # What was remarked before a crash is not lost by what is remarked after it.
            remarks=case((bindparam("said") == "", table.c.remarks), else_=bindparam("said")),
        ),
        [{"which": r.id, "to": r.state, "at": r.time, "who": r.by, "said": "\n".join(r.remarks)} for r in records],
    )


def begin(ledger: Ledger, id_: str, now: float) -> bool:
    """Begin to carry out what is due (`now`: unix seconds); False if it was undone. For a writer.

    From then on it cannot be undone. True too if another host has begun it. Raises LedgerError.
    """
    table = bulk_action
    with ledger.connection() as connection:
        placed = and_(table.c.id == id_, table.c.state == "placed")
        connection.execute(update(table).where(placed).values(state="running", changed=now))
        return connection.execute(select(table.c.state).where(table.c.id == id_)).scalar() == "running"


def take_back(ledger: Ledger, id_: str, now: float, by: str) -> bool:
    """Undo what is not begun; False if it is too late. For a writer. `now`: unix seconds. Raises LedgerError."""
    table = bulk_action
    with ledger.connection() as connection:
        not_begun = and_(table.c.id == id_, or_(table.c.state == WAITING, table.c.state == "placed"))
        values = {"state": "undone", "changed": now, "changed_by": by}
        return connection.execute(update(table).where(not_begun).values(values)).rowcount == 1


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
