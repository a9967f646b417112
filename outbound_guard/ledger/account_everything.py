"""All that the ledger knows of an account, row by row and in portions, so that memory stays bounded. Sync.

All raise LedgerError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, and_, or_, select, tuple_

from outbound_guard.ledger import tables
from outbound_guard.ledger.account_one_queries import cases_naming, sender_names
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import PORTION, portions
from outbound_guard.ledger.traffic_tables import traffic

Row = dict[str, Any]
_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_JSON = ("recipients", "signals", "limits", "data")
"""Columns with JSON texts."""


def decisions(ledger: Ledger, account: str) -> Iterator[Row]:
    """Its messages, oldest first: the decision, with what next hops answered (`deliveries`) and, if it was held, how
    that went (`held`)."""
    table = tables.decision
    after: tuple[float, str] = (float("-inf"), "")
    while True:
        query = select(table).where(table.c.account == account, table.c.received >= after[0])
        query = query.where(tuple_(table.c.received, table.c.id) > after).order_by(table.c.received, table.c.id)
        with ledger.connection() as connection:
            rows = [_plain(row) for row in connection.execute(query.limit(PORTION)).mappings()]
            ids = [row["id"] for row in rows]
            known = {row["id"]: row | {"deliveries": [], "held": None} for row in rows}
            for answer in connection.execute(_of(tables.delivery, ids)).mappings():
                known[answer["id"]]["deliveries"].append(_without(answer, "serial", "id"))
            for kept in connection.execute(_of(tables.held, ids)).mappings():
                fate = {name: kept[name] for name in ("state", "changed", "changed_by", "reason", "due")}
                known[kept["id"]]["held"] = fate
        yield from known.values()
        if len(rows) < PORTION:
            return
        after = (rows[-1]["received"], rows[-1]["id"])


def held_ids(ledger: Ledger, account: str) -> Iterator[str]:
    """The ids of its mail that is held or in quarantine now."""
    held, after = tables.held, ""
    while True:
        query = select(held.c.id).where(held.c.open, held.c.account == account, held.c.id > after).order_by(held.c.id)
        with ledger.connection() as connection:
            ids = list(connection.execute(query.limit(PORTION)).scalars())
        yield from ids
        if len(ids) < PORTION:
            return
        after = ids[-1]


def about(ledger: Ledger, account: str) -> Iterator[tuple[str, Row]]:
    """Everything but its messages, each with its kind: entry, pattern, sender, standing, class, note, case, ..."""
    subjects = [account, *sender_names(ledger, account)]
    own = tables.account_note.c.account == account
    wanted = (
        ("entry", tables.account, tables.account.c.account == account),
        ("pattern", tables.sender_account, tables.sender_account.c.account == account),
        ("sender", tables.sender_seen, tables.sender_seen.c.account == account),
        ("standing", tables.standing_history, _of_them(tables.standing_history, account)),
        ("class", tables.class_change, tables.class_change.c.account == account),
        ("note", tables.account_note, or_(own, tables.account_note.c.subject == account)),
        ("traffic", traffic, traffic.c.account == account),
        ("feedback", tables.feedback, tables.feedback.c.account == account),
        ("suppression", tables.suppression, tables.suppression.c.account == account),
        ("notice", tables.outbox, tables.outbox.c.account == account),
        ("customer_link", tables.customer_link, tables.customer_link.c.account == account),
        ("customer_release", tables.customer_release, tables.customer_release.c.account == account),
        ("customer_answer", tables.customer_answer, tables.customer_answer.c.account == account),
    )
    for kind, table, which in wanted:
        query = select(table).where(which).order_by(*table.primary_key.columns)
        with ledger.connection() as connection:
            rows = [_plain(row) for row in connection.execute(query).mappings()]
        for row in rows:
            row.pop("serial", None)
            yield kind, row
    for case in cases_naming(ledger, account):
        yield "case", case
    for some in portions(subjects):
        query = select(tables.audit).where(tables.audit.c.subject.in_(some))
        with ledger.connection() as connection:
            rows = [
                _without(row, "serial") for row in connection.execute(query.order_by(tables.audit.c.time)).mappings()
            ]
        for row in rows:
            yield "audit", row


def _of(table: Table, ids: Sequence[str]) -> Any:
    return select(table).where(table.c.id.in_(ids))


def _of_them(table: Table, account: str) -> Any:
    return or_(table.c.account == account, and_(table.c.scope == "account", table.c.subject == account))


def _plain(row: Any) -> Row:
    return {
        name: _json.decode(value) if name in _JSON and isinstance(value, str) else value for name, value in row.items()
    }


def _without(row: Any, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
