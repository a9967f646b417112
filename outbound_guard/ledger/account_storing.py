"""Accounts in SQL: the directory's entries, who was seen, notes, orders to erase. May be done again without harm."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Table, case, delete, func, literal_column, or_, update

from outbound_guard.ledger import tables
from outbound_guard.ledger.prepared import Prepared
from outbound_guard.ledger.records import AccountEntry, Decision, Erasure, Note, Standing
from outbound_guard.ledger.schema import upsert

LAG = 300.0
"""Seconds by which the time at which somebody was last seen may lag behind: not every message is to write it."""
_TEXTS = ("name", "contact", "note")

Row = dict[str, Any]


def seen_in_decisions(connection: Connection, records: Iterable[Decision]) -> None:
    """Note who has sent."""
    accounts: dict[str, tuple[float, float]] = {}
    senders: dict[tuple[str, str], tuple[str, float, float]] = {}
    for r in records:
        account, sender, time = r.account, r.sender, r.received
        if known := senders.get((account, sender)):
            _, first, last = known
            if time < first:
                first = time
            if time > last:
                last = time
            senders[account, sender] = (r.sender_kind, first, last)
        else:
            senders[account, sender] = (r.sender_kind, time, time)
    for (account, _), (_, first, last) in senders.items():
        earlier, later = accounts.get(account, (first, last))
        accounts[account] = (min(first, earlier), max(last, later))
    _ACCOUNTS.run(connection, [(account, *times) for account, times in accounts.items()])
    _SENDERS.run(connection, [(*key, *seen) for key, seen in senders.items()])


def seen_in_standings(connection: Connection, records: Iterable[Standing]) -> None:
    """Note the accounts that people decided about, whether they have sent or not."""
    accounts: dict[str, tuple[float, float]] = {}
    for r in records:
        if account := r.subject if r.scope == "account" else r.account:
            first, last = accounts.get(account, (r.time, r.time))
            accounts[account] = (min(first, r.time), max(last, r.time))
    _ACCOUNTS.run(connection, [(account, *times) for account, times in accounts.items()])


def account_entries(connection: Connection, records: list[AccountEntry]) -> None:
    """Put entries of the directory in, change them, or take them out, in their order."""
    for takes_away, some in groupby(records, key=lambda r: bool(r.gone or r.removed)):
        if takes_away:
            for record in some:
                _take_away(connection, record)
        else:
            _put(connection, list(some))


def notes(connection: Connection, records: list[Note]) -> None:
    """Write notes down; a newer one with the same id takes the older one's place."""
    names = ("id", "time", "by", "scope", "subject", "account", "text")
    statement = upsert(connection, tables.account_note)
    statement = statement.on_conflict_do_update(
        index_elements=["id"],
        set_={name: statement.excluded[name] for name in names[1:]},
        where=tables.account_note.c.time <= statement.excluded.time,
    )
    connection.execute(statement, [{name: getattr(r, name) for name in names} for r in records])


def erasures(connection: Connection, records: list[Erasure]) -> None:
    """Take orders to erase; those that are known stay as they are."""
    rows = [
        {
            "id": r.id,
            "account": r.account,
            "time": r.time,
            "by": r.by,
            "keep_suspension": r.keep_suspension,
            "state": "waiting",
            "changed": r.time,
            "counts": "{}",
        }
        for r in records
    ]
    connection.execute(upsert(connection, tables.erasure).on_conflict_do_nothing(), rows)


def _seen(table: Table) -> Prepared:
    """Rows of who was seen, of which each key comes once in a batch, as PostgreSQL demands."""

    def widened(statement: Any) -> Any:
        new, old = statement.excluded, table.c
        changing = {
            "first": case((new.first < old.first, new.first), else_=old.first),
            "last": case((new.last > old.last, new.last), else_=old.last),
        }
        if "kind" in old:
            changing["kind"] = new.kind
        return statement.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key],
            set_=changing,
            where=or_(new.first < old.first, new.last > old.last + literal_column(str(LAG))),
        )

    return Prepared(table, conflict=widened)


_ACCOUNTS, _SENDERS = _seen(tables.account_seen), _seen(tables.sender_seen)


def _put(connection: Connection, records: list[AccountEntry]) -> None:
    statement = upsert(connection, tables.account)
    # An empty text leaves what is known.
    known = {name: func.coalesce(func.nullif(statement.excluded[name], ""), tables.account.c[name]) for name in _TEXTS}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["account"], set_=known),
        [
            {"account": r.account, "name": r.name, "contact": r.contact, "note": r.note, "created": r.time}
            for r in records
        ],
    )
    for r in records:
        if emptied := {name: "" for name in r.emptied if name in _TEXTS and not getattr(r, name)}:
            table = tables.account
            connection.execute(update(table).where(table.c.account == r.account).values(emptied))
    senders = {sender: r.account for r in records for sender in r.senders}
    if senders:
        mapping = upsert(connection, tables.sender_account)
        connection.execute(
            mapping.on_conflict_do_update(index_elements=["pattern"], set_={"account": mapping.excluded.account}),
            [{"pattern": pattern, "account": account} for pattern, account in senders.items()],
        )
    times = {r.account: r.time for r in records}
    _ACCOUNTS.run(connection, [(account, time, time) for account, time in times.items()])


def _take_away(connection: Connection, record: AccountEntry) -> None:
    entry, mapping = tables.account, tables.sender_account
    own = mapping.c.account == record.account
    if record.removed:
        connection.execute(delete(mapping).where(own))
        connection.execute(delete(entry).where(entry.c.account == record.account))
        return
    for pattern in record.gone:
        connection.execute(delete(mapping).where(own, mapping.c.pattern == pattern))
    _put(connection, [record])
