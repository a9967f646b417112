"""Records become rows. Everything here may be done again, and in any order, without harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Table, bindparam, select, update

from outbound_guard.ledger import tables
from outbound_guard.ledger.account_storing import (
    account_entries,
    erasures,
    notes,
    seen_in_decisions,
    seen_in_standings,
)
from outbound_guard.ledger.bulk_storing import bulk_changes, bulk_done, bulk_placed
from outbound_guard.ledger.case_storing import case_events
from outbound_guard.ledger.class_storing import class_changes
from outbound_guard.ledger.customer_storing import (
    customer_answers,
    customer_links,
    customer_offences,
    customer_releases,
)
from outbound_guard.ledger.feedback_storing import feedbacks, suppressions
from outbound_guard.ledger.held_columns import OPEN, SHOWN, shown_of
from outbound_guard.ledger.outbox_storing import notice_acts, notices, of_decisions, of_standings
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.prepared import Prepared, but_serial
from outbound_guard.ledger.records import (
    AccountEntry,
    Audit,
    BulkChange,
    BulkDone,
    BulkPlaced,
    CaseEvent,
    ClassChange,
    CustomerAnswer,
    CustomerLink,
    CustomerOffence,
    CustomerRelease,
    Decision,
    Delivered,
    Erasure,
    Feedback,
    HeldChange,
    Note,
    Notice,
    NoticeAct,
    Record,
    Standing,
    Suppression,
    TokenChange,
    UserChange,
    WeightChange,
)
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.traffic_storing import count_decisions, reached, unknown_yet
from outbound_guard.ledger.user_storing import token_changes, user_changes
from outbound_guard.ledger.weight_storing import weight_changes
from outbound_guard.mail import Signal

Row = dict[str, Any]
KINDS = {
    "suspended": "suspension",
    "resumed": "suspension",
    "limited": "limit",
    "unlimited": "limit",
    "exempted": "exemption",
    "probation": "probation",
    "pinned": "pin",
    "unpinned": "pin",
}
_MESSAGE_ID = 500
"""Characters of a Message-ID that are kept."""
_json = msgspec.json.Encoder().encode
_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


def store(connection: Connection, records: Iterable[Record], node: str = "") -> None:
    """Put records in, kind by kind. Raises what the database raises; the caller rolls back.

    `node`: the host whose records they are, and in whose spool the messages lie that they are about.
    """
    sorted_: dict[type, list[Any]] = {}
    for record in records:
        kind = type(record)
        if kind in sorted_:
            sorted_[kind].append(record)
        else:
            sorted_[kind] = [record]
    for type_, placing in _PLACING.items():
        if type_ in sorted_:
            placing(connection, sorted_[type_], node)
    for type_, storing in _STORING.items():
        if type_ in sorted_:
            storing(connection, sorted_[type_])
    if AccountEntry in sorted_ or Standing in sorted_:
        count_revision(connection, "directory")
    if WeightChange in sorted_:
        count_revision(connection, "weights")


def insert_new(connection: Connection, table: Table, rows: list[Row]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)


def _decisions(connection: Connection, records: list[Decision], node: str) -> None:
    new = unknown_yet(connection, records)
    of_decisions(connection, new)
    rows = [
        (
            r.id,
            r.received,
            r.account,
            r.sender,
            r.sender_kind,
            r.source,
            r.server,
            r.client_ip,
            r.mail_from,
            _json(r.recipients).decode(),
            r.subject,
            # Whoever writes it chooses its length, and PostgreSQL has indexes for 2,700 octets at most.
            r.message_id[:_MESSAGE_ID],
            r.size,
            r.action,
            r.score,
            r.code,
            r.reason,
            r.mode,
            _json(r.signals).decode(),
            r.answered,
            r.source_address,
            r.text,
            node,
        )
        for r in records
    ]
    _DECISION.run(connection, rows)
    _RECIPIENT.run(connection, [(address, r.id) for r in records for address in reached(r.recipients)])
    seen_in_decisions(connection, records)
    count_decisions(connection, new)
    held = [r for r in records if r.state in ("held", "quarantine")]
    if held:
        _held_new(connection, held, node)


def _held_new(connection: Connection, records: list[Decision], node: str) -> None:
    _HELD_NEW.run(
        connection,
        [
            (r.id, r.received, r.account, r.sender, r.state, r.received, "system", r.reason, r.due, True, *shown, node)
            for r in records
            for shown in [_shown(r)]
        ],
    )


def _shown(r: Decision) -> list[Any]:
    """The values of SHOWN."""
    shown = shown_of(r.account, r.sender, r.mail_from, r.recipients, r.subject, r.signals)
    shown |= {"action": r.action, "score": r.score, "size": r.size, "text": r.text}
    return [shown[name] for name in SHOWN]


def _held_changes(connection: Connection, records: list[HeldChange], node: str) -> None:
    _HELD_CHANGED.run(
        connection,
        [
            # The time, account and sender, and what lists show, are filled in when the decision comes.
            (r.id, r.time, "", "", r.to, r.time, r.by, r.reason, r.due, r.to in OPEN, node)
            for r in records
        ],
    )
    _HELD_CHANGE.run(connection, [(r.id, r.time, r.to, r.by, r.reason, r.due) for r in records])
    _held_later(connection, [r.id for r in records if r.to in OPEN])


def _held_later(connection: Connection, ids: list[str]) -> None:
    """What was taken out of the queue has its decision already, from which lists are filled in."""
    held, decision = tables.held, tables.decision
    for some in portions(ids):
        unfilled = select(held.c.id).where(held.c.id.in_(some), held.c.account == "")
        rows = connection.execute(select(decision).where(decision.c.id.in_(unfilled))).mappings().all()
        if rows:
            names = ("received", "account", "sender", *SHOWN)
            statement = update(held).where(held.c.id == bindparam("of"))
            statement = statement.values({name: bindparam(f"new_{name}") for name in names})
            connection.execute(statement, [_filled(row, names) for row in rows])


def _filled(row: RowMapping, names: Iterable[str]) -> Row:
    recipients, signals = _strings.decode(row["recipients"]), _signals.decode(row["signals"])
    known = {**row, **shown_of(row["account"], row["sender"], row["mail_from"], recipients, row["subject"], signals)}
    return {f"new_{name}": known[name] for name in names} | {"of": row["id"]}


def _deliveries(connection: Connection, records: list[Delivered]) -> None:
    _DELIVERY.run(
        connection,
        [
            (r.id, r.time, r.recipient, r.code, r.enhanced, r.text, r.peer, r.final, r.source_address, r.about)
            for r in records
        ],
    )


def _standings(connection: Connection, records: list[Standing]) -> None:
    rows: list[Row] = [
        {
            "time": r.time,
            "scope": r.scope,
            "subject": r.subject,
            "change": r.change,
            "account": r.account,
            "by": r.by,
            "reason": r.reason,
            "until": r.until,
            "limits": _json(r.limits).decode(),
            "pool": r.pool,
        }
        for r in records
    ]
    of_standings(connection, records)
    connection.execute(tables.standing_history.insert(), rows)
    statement = upsert(connection, tables.standing)
    changing = ("change", "account", "time", "by", "reason", "until", "limits", "pool")
    statement = statement.on_conflict_do_update(
        index_elements=["scope", "subject", "kind"],
        set_={name: statement.excluded[name] for name in changing},
        where=tables.standing.c.time <= statement.excluded.time,
    )
    connection.execute(statement, [row | {"kind": KINDS[row["change"]]} for row in rows])
    seen_in_standings(connection, records)


def _audits(connection: Connection, records: list[Audit]) -> None:
    connection.execute(
        tables.audit.insert(),
        [{"time": r.time, "by": r.by, "what": r.what, "subject": r.subject, "detail": r.detail} for r in records],
    )


def count_revision(connection: Connection, name: str) -> None:
    """Say that what a revision stands for has changed."""
    insert_new(connection, tables.revision, [{"name": name, "number": 0}])
    table = tables.revision
    connection.execute(update(table).where(table.c.name == name).values(number=table.c.number + 1))


def taken(connection: Connection, names: list[str]) -> set[str]:
    """Those of the segments that are in the ledger already."""
    table = tables.segment
    return set(connection.execute(select(table.c.name).where(table.c.name.in_(names))).scalars())


def _held_as_decided(statement: Any) -> Any:
    # A change may have come first, for example a release within a second: then its state stays.
    names = ("received", "account", "sender", "node", *SHOWN)
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={name: statement.excluded[name] for name in names}
    )


def _held_as_changed(statement: Any) -> Any:
    # Who changes it has its file, which may have come from another host's spool.
    names = ("state", "changed", "changed_by", "reason", "due", "open", "node")
    return statement.on_conflict_do_update(
        index_elements=["id"],
        set_={name: statement.excluded[name] for name in names},
        where=tables.held.c.changed <= statement.excluded.changed,
    )


_DECISION = Prepared(tables.decision)
_RECIPIENT = Prepared(tables.recipient)
_DELIVERY = Prepared(tables.delivery, but_serial(tables.delivery))
_HELD_NAMES = (
    "id",
    "received",
    "account",
    "sender",
    "state",
    "changed",
    "changed_by",
    "reason",
    "due",
    "open",
)
_HELD_NEW = Prepared(tables.held, (*_HELD_NAMES, *SHOWN, "node"), _held_as_decided)
_HELD_CHANGED = Prepared(tables.held, (*_HELD_NAMES, "node"), _held_as_changed)
_HELD_CHANGE = Prepared(tables.held_change, but_serial(tables.held_change))
_PLACING: dict[type, Callable[[Connection, list[Any], str], None]] = {
    Decision: _decisions,
    HeldChange: _held_changes,
}
_STORING: dict[type, Callable[[Connection, list[Any]], None]] = {
    Delivered: _deliveries,
    Standing: _standings,
    ClassChange: class_changes,
    Audit: _audits,
    AccountEntry: account_entries,
    Note: notes,
    Erasure: erasures,
    Feedback: feedbacks,
    Suppression: suppressions,
    CaseEvent: case_events,
    WeightChange: weight_changes,
    BulkPlaced: bulk_placed,
    BulkDone: bulk_done,
    BulkChange: bulk_changes,
    UserChange: user_changes,
    TokenChange: token_changes,
    Notice: notices,
    NoticeAct: notice_acts,
    CustomerLink: customer_links,
    CustomerAnswer: customer_answers,
    CustomerOffence: customer_offences,
    CustomerRelease: customer_releases,
}
