"""Questions to the ledger about decisions over many held messages. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, Select, case, func, select

from outbound_guard.ledger.bulk_storing import PENDING
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_queries import Search, plain, where
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import bulk_action, bulk_item, held

WAITING = "waiting"
LIVE = (WAITING, "placed", "running")
_NAMED = 8
"""Accounts, senders and texts that are named in a summary: those with most messages."""


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """A decision about many held messages. Times are unix seconds."""

    id: str
    time: float
    """When it was placed."""
    by: str
    act: str
    """release | delete | return"""
    teach: bool
    reason: str
    meant: str
    """Which messages were meant, in words."""
    number: int
    due: float
    """When it is carried out; until then it may be undone."""
    state: str
    """waiting (for a second person, until `due`) | placed | running | done | undone | refused | expired"""
    changed: float
    changed_by: str
    remarks: tuple[str, ...]
    """What did not go as it should besides single messages."""
    person: str = ""
    """Of one that waits or waited for a second person: who cannot be it."""
    delay: float = 0.0
    """Likewise: seconds in which it can still be undone once somebody has confirmed it."""
    confirmed_by: str = ""
    counts: dict[str, int] = {}
    """Messages that are pending, done, gone (not held any more) and failed."""


class BulkItem(msgspec.Struct, frozen=True, kw_only=True):
    """One message of such a decision."""

    id: str
    state: str
    """pending | done | gone | failed"""
    time: float
    detail: str
    sender: str
    subject: str


class BulkShare(msgspec.Struct, frozen=True):
    """How many of the messages have this in common."""

    key: str
    number: int
    subject: str = ""
    """Of the newest of them."""


class BulkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What messages are meant, in figures. Times are unix seconds."""

    number: int = 0
    octets: int = 0
    oldest: float = 0.0
    newest: float = 0.0
    top_score: float = 0.0
    accounts: int = 0
    senders: int = 0
    texts: int = 0
    returnable: int = 0
    engaged: int = 0
    """In another decision that is not carried out yet."""
    most_accounts: tuple[BulkShare, ...] = ()
    most_senders: tuple[BulkShare, ...] = ()
    most_texts: tuple[BulkShare, ...] = ()


def summary(ledger: Ledger, meant: Search | Sequence[str]) -> BulkSummary:
    """Figures about the messages that are meant and still wait: by a search, or by their ids (some thousands)."""
    conditions = _conditions(meant)
    scans = not isinstance(meant, Search) or meant.scans
    figures = select(
        func.count(),
        func.coalesce(func.sum(held.c.size), 0),
        func.coalesce(func.min(held.c.received), 0.0),
        func.coalesce(func.max(held.c.received), 0.0),
        func.coalesce(func.max(held.c.score), 0.0),
        func.coalesce(func.sum(case((held.c.returnable == True, 1), else_=0)), 0),  # noqa: E712 - this is SQL.
    ).where(*conditions)
    with ledger.connection() as connection:
        number, octets, oldest, newest, top, returnable = connection.execute(figures).one()
        taken = 0
        if connection.execute(_engaged().limit(1)).first():
            both = select(func.count()).select_from(held).where(*conditions, held.c.id.in_(_engaged()))
            taken = connection.execute(both).scalar_one()
        accounts, most_accounts = _shares(connection, conditions, held.c.account, scans)
        senders, most_senders = _shares(connection, conditions, held.c.sender, scans)
        texts, most_texts = _shares(connection, [*conditions, held.c.text != ""], held.c.text, scans)
    return BulkSummary(
        number=number,
        octets=octets,
        oldest=oldest,
        newest=newest,
        top_score=top,
        accounts=accounts,
        senders=senders,
        texts=texts,
        returnable=returnable,
        engaged=taken,
        most_accounts=most_accounts,
        most_senders=most_senders,
        most_texts=most_texts,
    )


def meant_ids(ledger: Ledger, meant: Search | Sequence[str], most: int) -> list[str]:
    """The ids of those that are meant, wait, and are in no other decision; oldest first, at most `most` and one."""
    query = select(held.c.id).where(*_conditions(meant), held.c.id.not_in(_engaged())).order_by(held.c.received)
    with ledger.connection() as connection:
        return list(connection.execute(query.limit(most + 1)).scalars())


def engaged(ledger: Ledger, ids: Sequence[str]) -> dict[str, str]:
    """Which of these messages are in a decision that is not carried out yet, and in which."""
    found: dict[str, str] = {}
    with ledger.connection() as connection:
        for some in portions(ids):
            query = (
                select(bulk_item.c.id, bulk_item.c.bulk)
                .join(bulk_action, bulk_action.c.id == bulk_item.c.bulk)
                .where(bulk_item.c.id.in_(some), bulk_item.c.state == PENDING, bulk_action.c.state.in_(LIVE))
            )
            found |= dict(connection.execute(query).all())
    return found


def one(ledger: Ledger, id_: str) -> Bulk | None:
    """One decision, with its counts."""
    return next(iter(_bulks(ledger, select(bulk_action).where(bulk_action.c.id == id_))), None)


def newest(ledger: Ledger, *, offset: int = 0, limit: int = 50) -> list[Bulk]:
    """Decisions, newest first, with their counts."""
    return _bulks(ledger, select(bulk_action).order_by(bulk_action.c.time.desc()).limit(limit).offset(offset))


def live(ledger: Ledger) -> list[Bulk]:
    """Those that are not carried out yet, the next first."""
    query = select(bulk_action).where(bulk_action.c.state.in_(LIVE)).order_by(bulk_action.c.due)
    return _bulks(ledger, query)


def number(ledger: Ledger) -> int:
    """How many there were."""
    with ledger.connection() as connection:
        return connection.execute(select(func.count()).select_from(bulk_action)).scalar_one()


def due(ledger: Ledger, now: float) -> list[tuple[str, str]]:
    """Those to carry out now (unix seconds), or that nobody has confirmed by now, the oldest first: id and state."""
    query = select(bulk_action.c.id, bulk_action.c.state).where(bulk_action.c.state.in_(LIVE), bulk_action.c.due <= now)
    with ledger.connection() as connection:
        return [(id_, state) for id_, state in connection.execute(query.order_by(bulk_action.c.due))]


def pending(ledger: Ledger, id_: str, node: str = "", *, also_unknown: bool = True) -> list[tuple[str, int]]:
    """The messages of a decision that are still to be seen to, the oldest first, each with its octets.

    Of a host, if one is named: those in its spool and, if `also_unknown`, those of which no host is known.
    """
    query = (
        select(bulk_item.c.id, func.coalesce(held.c.size, 0))
        .select_from(bulk_item.outerjoin(held, held.c.id == bulk_item.c.id))
        .where(bulk_item.c.bulk == id_, bulk_item.c.state == PENDING)
        .order_by(bulk_item.c.id)
    )
    if node:
        where = func.coalesce(held.c.node, "")
        query = query.where(where.in_((node, "")) if also_unknown else where == node)
    with ledger.connection() as connection:
        return [(message, size) for message, size in connection.execute(query)]


def pending_at(ledger: Ledger, id_: str) -> dict[str, int]:
    """How many messages of a decision are still to be seen to, by the host that has them; empty: not known."""
    where = func.coalesce(held.c.node, "")
    query = (
        select(where, func.count())
        .select_from(bulk_item.outerjoin(held, held.c.id == bulk_item.c.id))
        .where(bulk_item.c.bulk == id_, bulk_item.c.state == PENDING)
        .group_by(where)
    )
    with ledger.connection() as connection:
        return dict(connection.execute(query).all())


def items(ledger: Ledger, id_: str, states: Sequence[str] = (), *, offset: int = 0, limit: int = 50) -> list[BulkItem]:
    """The messages of a decision in the order of their ids; of these states only, if any are given."""
    query = (
        select(
            bulk_item,
            func.coalesce(held.c.sender, "").label("sender"),
            func.coalesce(held.c.subject, "").label("subject"),
        )
        .select_from(bulk_item.outerjoin(held, held.c.id == bulk_item.c.id))
        .where(bulk_item.c.bulk == id_)
        .order_by(bulk_item.c.id)
        .limit(limit)
        .offset(offset)
    )
    if states:
        query = query.where(bulk_item.c.state.in_(states))
    with ledger.connection() as connection:
        return [
            BulkItem(**{name: row[name] for name in BulkItem.__struct_fields__})
            for row in connection.execute(query).mappings()
        ]


def failures(ledger: Ledger, id_: str, most: int = 20) -> list[tuple[str, int]]:
    """Why messages of a decision failed or were gone, without their ids, and how often; the commonest first."""
    query = select(bulk_item.c.id, bulk_item.c.detail).where(
        bulk_item.c.bulk == id_, bulk_item.c.state.in_(("failed", "gone"))
    )
    counted: dict[str, int] = {}
    with ledger.connection() as connection:
        for message, detail in connection.execute(query):
            why = detail.replace(message, "").strip()
            counted[why] = counted.get(why, 0) + 1
    return sorted(counted.items(), key=lambda pair: -pair[1])[:most]


def _shares(
    connection: Connection, conditions: Sequence[ColumnElement[bool]], key: Column[str], scans: bool
) -> tuple[int, tuple[BulkShare, ...]]:
    """How many different ones there are, and those with most messages."""
    by: ColumnElement[str] = plain(key) if scans else key
    query = (
        select(by, func.count(), func.max(held.c.id), func.count().over())
        .where(*conditions)
        .group_by(by)
        .order_by(func.count().desc(), by)
        .limit(_NAMED)
    )
    rows = connection.execute(query).all()
    newest = select(held.c.id, held.c.subject).where(held.c.id.in_([row[2] for row in rows]))
    subjects = dict(connection.execute(newest).all())
    found = tuple(BulkShare(name, number, subjects.get(newest, "")) for name, number, newest, _ in rows)
    return rows[0][3] if rows else 0, found


def _conditions(meant: Search | Sequence[str]) -> list[ColumnElement[bool]]:
    if isinstance(meant, Search):
        return [*where(meant), held.c.open == True]  # noqa: E712 - this is SQL.
    return [held.c.id.in_(meant), held.c.open == True]  # noqa: E712 - this is SQL.


def _engaged() -> Select[tuple[str]]:
    return (
        select(bulk_item.c.id)
        .join(bulk_action, bulk_action.c.id == bulk_item.c.bulk)
        .where(bulk_action.c.state.in_(LIVE), bulk_item.c.state == PENDING)
    )


def _bulks(ledger: Ledger, query: Select[tuple[object, ...]]) -> list[Bulk]:
    with ledger.connection() as connection:
        rows = connection.execute(query).mappings().all()
        found = []
        for row in rows:
            counting = (
                select(bulk_item.c.state, func.count()).where(bulk_item.c.bulk == row["id"]).group_by(bulk_item.c.state)
            )
            counts: dict[str, int] = dict(connection.execute(counting).all())
            fields = dict(row) | {"remarks": tuple(row["remarks"].splitlines()), "counts": counts}
            found.append(Bulk(**fields))
    return found
