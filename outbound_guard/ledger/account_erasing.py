"""Everything about an account is taken out of the ledger, in portions, for the ledger's one writer. Sync.

All of it may be done again: what is gone stays gone, and what a crash has left is found by the next run. Only what was
there `before` a time goes; who sends again later begins a new life. All raise LedgerError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, or_, select, update

from outbound_guard.ledger import tables
from outbound_guard.ledger.case_storing import rebuild
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.schema import upsert
from outbound_guard.ledger.storing import count_revision
from outbound_guard.ledger.traffic_tables import traffic

PORTION = 500
"""Messages in one transaction, so that new records need not wait long."""
_NAMES = 2000
"""Senders whose standings are asked for by their names."""
_LOOKED_FOR = 200
"""Names that are looked for in texts: each costs a look at all of them."""
WHOSE = {
    "decision",
    "held",
    "traffic",
    "feedback",
    "suppression",
    "account",
    "sender_account",
    "account_seen",
    "sender_seen",
    "sender_class",
    "class_change",
    "account_note",
    "standing",
    "standing_history",
    "weight_history",
    "erasure",
    "outbox",
    "customer_link",
    "customer_answer",
    "customer_release",
}
"""Tables with an account or a sender in them, all of which are seen to here; a test finds those that are not."""

Row = dict[str, Any]
_counts: msgspec.json.Decoder[dict[str, int]] = msgspec.json.Decoder(dict[str, int])


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order to erase an account."""

    id: str
    account: str
    """Empty once it is done."""
    time: float
    by: str
    keep_suspension: bool
    state: str
    """waiting | once | done"""
    changed: float
    counts: dict[str, int]


def orders(ledger: Ledger) -> list[Order]:
    """Orders that are not done; oldest first."""
    query = select(tables.erasure).where(tables.erasure.c.state != "done").order_by(tables.erasure.c.time)
    with ledger.connection() as connection:
        return [_order(row) for row in connection.execute(query).mappings()]


def order_one(ledger: Ledger, id_: str) -> Order | None:
    """One order."""
    with ledger.connection() as connection:
        row = connection.execute(select(tables.erasure).where(tables.erasure.c.id == id_)).mappings().first()
    return _order(row) if row else None


def note_progress(ledger: Ledger, order: Order) -> None:
    """Write down how far an order has come."""
    table = tables.erasure
    fields = {"account": order.account, "state": order.state, "changed": order.changed}
    with ledger.connection() as connection:
        counts = msgspec.json.encode(order.counts).decode()
        connection.execute(update(table).where(table.c.id == order.id).values(**fields, counts=counts))


def files_gone(ledger: Ledger, order: str, times: int) -> set[str]:
    """The hosts that have removed their files of what is erased by this order, at least so many times."""
    table = tables.erasure_node
    query = select(table.c.node).where(table.c.erasure == order, table.c.times >= times)
    with ledger.connection() as connection:
        return set(connection.execute(query).scalars())


def note_files_gone(ledger: Ledger, order: str, node: str, times: int, messages: int) -> None:
    """Write down that a host has now removed its files `times` times, and how many `messages` the last time."""
    table = tables.erasure_node
    row = {"erasure": order, "node": node, "times": times, "messages": messages}
    with ledger.connection() as connection:
        statement = upsert(connection, table)
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=["erasure", "node"],
            set_={"times": new.times, "messages": table.c.messages + new.messages},
            where=table.c.times < new.times,
        )
        connection.execute(statement, [row])


def open_held(ledger: Ledger, account: str) -> list[str]:
    """The ids of an account's mail that is held or in quarantine, as far as the ledger knows."""
    held = tables.held
    with ledger.connection() as connection:
        query = select(held.c.id).where(held.c.open, held.c.account == account)
        return list(connection.execute(query).scalars())


def erase_messages(ledger: Ledger, account: str, before: float) -> int:
    """Its messages: decisions, recipients, answers, held mail; how many messages they were."""
    decision, held = tables.decision, tables.held
    gone = 0
    for table in (decision, held):
        while True:
            with _writing(ledger) as connection:
                query = select(table.c.id).where(table.c.account == account, table.c.received <= before).limit(PORTION)
                ids = list(connection.execute(query).scalars())
                _erase_ids(connection, ids)
            gone += len(ids)
            if len(ids) < PORTION:
                break
    return gone


def erase_names(ledger: Ledger, account: str, instead: str, before: float, *, keep_suspension: bool) -> Row:
    """Its names: directory, senders, standings, notes, traffic; in the audit and in cases `instead` takes their place.

    How many rows went, or were changed, by kind.
    """
    with _writing(ledger) as connection:
        query = select(tables.sender_seen.c.sender).where(tables.sender_seen.c.account == account)
        known = tables.standing_history
        names = {account, *connection.execute(query).scalars()}
        names |= set(
            connection.execute(
                select(known.c.subject).where(known.c.account == account, known.c.scope == "sender")
            ).scalars()
        )
        subjects = sorted(names)
        counts = {
            "senders": _delete(connection, tables.sender_seen, tables.sender_seen.c.account == account),
            "standings": _standings(connection, account, subjects, before, keep_suspension),
            "notes": _notes(connection, account, subjects, before),
            "directory": _directory(connection, account, before),
            "traffic": _delete(
                connection, traffic, and_(traffic.c.account == account, traffic.c.hour <= int(before // 3600))
            ),
            **{
                table.name: _delete(connection, table, (table.c.account == account) & (table.c.time <= before))
                for table in (
                    tables.feedback,
                    tables.suppression,
                    tables.class_change,
                    tables.sender_class,
                    tables.customer_link,
                    tables.customer_answer,
                    tables.customer_release,
                )
            },
            "notices": _notices(connection, account, subjects, before),
            "audit": _audit(connection, subjects, instead, before),
        }
        _lessons(connection, subjects)
        counts["texts"] = _texts(connection, [account, *(n for n in subjects if n != account)][:_LOOKED_FOR], instead)
        counts["texts"] += _by(connection, account, instead, before)
        if not keep_suspension or not _suspended(connection, account):
            _delete(connection, tables.account_seen, tables.account_seen.c.account == account)
        count_revision(connection, "directory")
    return counts


def _erase_ids(connection: Connection, ids: Sequence[str]) -> None:
    if not ids:
        return
    audit, lesson = tables.audit, tables.weight_history
    for table, column in (
        (tables.recipient, "decision"),
        (tables.delivery, "id"),
        (tables.feedback, "message"),
        (tables.delivery, "about"),
        (tables.held_change, "id"),
        (tables.held, "id"),
        (tables.decision, "id"),
    ):
        connection.execute(delete(table).where(table.c[column].in_(ids)))
    # An id names nobody; what people wrote beside it may.
    connection.execute(update(audit).where(audit.c.subject.in_(ids)).values(detail=""))
    connection.execute(update(tables.bulk_item).where(tables.bulk_item.c.id.in_(ids)).values(detail=""))
    connection.execute(update(lesson).where(lesson.c.message.in_(ids)).values(sender="", text="", reason=""))


def _standings(connection: Connection, account: str, subjects: Sequence[str], before: float, keep: bool) -> int:
    gone = 0
    for table in (tables.standing_history, tables.standing):
        of_them = _of_them(table, account, subjects) & (table.c.time <= before)
        if keep and table is tables.standing:
            in_force = (table.c.change == "suspended") & or_(table.c.until == 0, table.c.until > before)
            connection.execute(update(table).where(of_them, in_force).values(reason="kept after an erasure"))
            of_them &= ~in_force
        gone += _delete(connection, table, of_them)
    return gone


def _suspended(connection: Connection, account: str) -> bool:
    table = tables.standing
    own = (table.c.subject == account) | (table.c.account == account)
    query = select(table.c.subject).where(own, table.c.change == "suspended").limit(1)
    return connection.execute(query).first() is not None


def _notes(connection: Connection, account: str, subjects: Sequence[str], before: float) -> int:
    table = tables.account_note
    return _delete(connection, table, _of_them(table, account, subjects) & (table.c.time <= before))


def _notices(connection: Connection, account: str, subjects: Sequence[str], before: float) -> int:
    """What was to be told about it, and how that went. What is not told yet will not be."""
    table, sending = tables.outbox, tables.outbox_sending
    # Who suspends a sender need not know its account.
    own = or_(table.c.account == account, and_(table.c.account == "", table.c.sender.in_(subjects[:_NAMES])))
    of_it = own & (table.c.time <= before)
    _delete(connection, sending, sending.c.notice.in_(select(table.c.serial).where(of_it)))
    return _delete(connection, table, of_it)


def _directory(connection: Connection, account: str, before: float) -> int:
    entry, mapping = tables.account, tables.sender_account
    created = connection.execute(select(entry.c.created).where(entry.c.account == account)).scalar()
    if created is not None and created > before:
        return 0
    own = _delete(connection, mapping, mapping.c.account == account)
    return own + _delete(connection, entry, entry.c.account == account)


def _audit(connection: Connection, subjects: Sequence[str], instead: str, before: float) -> int:
    """Who did what, and when, stays; about whom, and why, does not."""
    table, changed = tables.audit, 0
    for some in portions(subjects):
        of_them = table.c.subject.in_(some)
        statement = update(table).where(of_them, table.c.time <= before).values(subject=instead, detail="")
        changed += connection.execute(statement).rowcount
    return changed


def _by(connection: Connection, account: str, instead: str, before: float) -> int:
    """What its customers did stays, without whose customers they were."""
    changed, was, becomes = 0, f"customer:{account}", f"customer:{instead}"
    for table, name in ((tables.audit, "by"), (tables.bulk_action, "by"), (tables.bulk_action, "changed_by")):
        column = table.c[name]
        statement = update(table).where(column == was, table.c.time <= before).values({name: becomes})
        changed += connection.execute(statement).rowcount
    return changed


def _lessons(connection: Connection, subjects: Sequence[str]) -> None:
    table = tables.weight_history
    for some in portions(subjects):
        of_them = table.c.sender.in_(some)
        connection.execute(update(table).where(of_them).values(sender="", text="", reason=""))


def _texts(connection: Connection, names: Sequence[str], instead: str) -> int:
    """The names in what people and the machine have written: audit, bulk actions and cases."""
    without = _replacing(names, instead)
    changed = _rewrite(connection, tables.audit, ("detail",), names, without)
    changed += _rewrite(connection, tables.bulk_action, ("meant", "reason", "remarks"), names, without)
    # Who could see the account; a later one of the same name is somebody else's.
    changed += _rewrite(connection, tables.console_user, ("accounts",), names, without)
    changed += _rewrite(connection, tables.outbox, ("reason", "data"), names, without)
    event = tables.case_event
    touched = _containing(connection, event, ("text", "changes", "data"), names, (event.c.case_id,))
    changed += _rewrite(connection, event, ("text", "changes", "data"), names, without)
    for case in {row[0] for row in touched}:
        rebuild(connection, case)
    return changed


def _containing(
    connection: Connection, table: Table, columns: Sequence[str], names: Sequence[str], wanted: Sequence[Any]
) -> list[Any]:
    found: dict[Any, Any] = {}
    # Several names a statement; each is looked for in the whole table, which is no large one.
    for few in portions(names, 20):
        some = [*few, *map(_escaped, few)]
        where = or_(
            *(table.c[name].contains(text, autoescape=True) for name in columns for text in dict.fromkeys(some))
        )
        for row in connection.execute(select(*wanted).where(where)):
            found[tuple(row)] = row
    return list(found.values())


def _rewrite(
    connection: Connection, table: Table, columns: Sequence[str], names: Sequence[str], without: Callable[[str], str]
) -> int:
    (key,) = table.primary_key.columns
    changed = 0
    for row in _containing(connection, table, columns, names, (key, *(table.c[name] for name in columns))):
        new = {name: without(text) for name, text in zip(columns, row[1:], strict=True)}
        if tuple(new.values()) != tuple(row[1:]):
            connection.execute(update(table).where(key == row[0]).values(new))
            changed += 1
    return changed


def _replacing(names: Sequence[str], instead: str) -> Callable[[str], str]:
    """Replaces names where they stand for themselves, and not inside a longer word or address; also as JSON text."""
    forms = sorted({form for name in names for form in (name, _escaped(name))}, key=len, reverse=True)
    pattern = re.compile(r"(?<![\w.@-])(?:" + "|".join(map(re.escape, forms)) + r")(?![\w@-]|\.\w)", re.I)
    return lambda text: pattern.sub(instead, text)


def _escaped(name: str) -> str:
    return msgspec.json.encode(name).decode()[1:-1]


def _of_them(table: Table, account: str, subjects: Sequence[str]) -> ColumnElement[bool]:
    own = and_(table.c.scope == "account", table.c.subject == account)
    return or_(
        own, and_(table.c.scope == "sender", or_(table.c.account == account, table.c.subject.in_(subjects[:_NAMES])))
    )


def _delete(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    return connection.execute(delete(table).where(which)).rowcount


def _writing(ledger: Ledger) -> Any:
    return ledger.connection(overwrite=True)


def _order(row: Any) -> Order:
    return Order(**{**row, "counts": _counts.decode(row["counts"])})
