"""Questions to the ledger about held mail, for lists that are searched, sorted and grouped. Sync; raise LedgerError.

`held` says of each message what lists show, so that only a page's own rows are read from anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Column, ColumnElement, RowMapping, and_, distinct, func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_columns import OPEN, folded
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import decision, held, recipient

_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

Sort = Literal["received", "score", "account", "sender", "size", "changed"]
GroupBy = Literal["text", "account", "sender"]
GROUPS: dict[str, Column[str]] = {"text": held.c.text, "account": held.c.account, "sender": held.c.sender}
CLOSED = ("released", "deleted", "returned", "expired", "missing")


class Search(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which held messages are meant; what is empty does not restrict."""

    state: str = ""
    """held | quarantine | closed | released | deleted | returned | expired | missing; empty: all that waits."""
    account: str = ""
    sender: str = ""
    recipient: str = ""
    """The whole address."""
    text: str = ""
    """The fingerprint of a text: one campaign."""
    words: str = ""
    """Part of the subject, the envelope's sender, the sender, or one of the first recipients, in any case."""
    action: str = ""
    signal: str = ""
    """Name of a signal that spoke against it."""
    score_from: float | None = None
    score_to: float | None = None
    """Nats; both included."""
    since: float = 0.0
    before: float = 0.0
    """Unix seconds at which it was received."""

    @property
    def scans(self) -> bool:
        """True if every message that waits has to be looked at."""
        exact = self.account or self.sender or self.recipient or self.text
        return bool(self.words or self.signal or self.action) and not exact

    @property
    def empty(self) -> bool:
        """True if nothing restricts to fewer than all that waits; must not be acted on. A mere `before` does not."""
        narrowing = (self.account, self.sender, self.recipient, self.text, self.words, self.action, self.signal)
        scores = self.score_from is not None or self.score_to is not None
        return not (any(narrowing) or self.state or self.since or scores)


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is or was held, as lists show it. Times are unix seconds."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    recipients: tuple[str, ...]
    """The first of them."""
    recipient_count: int
    subject: str
    action: str
    score: float
    """Nats."""
    signals: tuple[str, ...]
    """Names of what spoke against it, strongest first."""
    text: str
    """The fingerprint of its text; empty if there is none."""
    size: int
    """Octets."""
    state: str
    """held | quarantine | released | deleted | returned | expired | missing"""
    due: float
    """When it is looked at again; 0: a person decides."""
    returnable: bool
    """True if it can go back to its sender, since the account owns the address."""
    changed: float
    changed_by: str
    change_reason: str
    node: str = ""
    """The host in whose spool it lies, or lay; empty: not known."""


class HeldGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that have something in common. Times are unix seconds."""

    key: str
    """The text's fingerprint, the account or the sender."""
    number: int
    accounts: int
    senders: int
    first: float
    last: float
    top_score: float
    subject: str
    """Of the newest."""
    octets: int


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """Another message with the same text."""

    id: str
    received: float
    account: str
    sender: str
    subject: str
    action: str
    score: float
    state: str
    """held | quarantine | released | deleted | returned | expired | missing; empty: it never was held."""


def page(
    ledger: Ledger, search: Search, *, sort: Sort = "received", down: bool = True, offset: int = 0, limit: int = 50
) -> list[HeldRow]:
    """A page of the messages that are meant."""
    column: ColumnElement[Any] = held.c[sort]
    if search.scans and sort != "received":
        # Sorting what was found beats looking every message up in the order wanted.
        column = plain(column)
    order = [column.desc() if down else column.asc()]
    if sort in ("account", "sender"):
        # The newest first among those that are alike.
        order.append(held.c.received.desc())
    ids = select(held.c.id).where(*where(search)).order_by(*order).limit(limit).offset(offset)
    with ledger.connection() as connection:
        wanted = list(connection.execute(ids).scalars())
        rows = connection.execute(select(held).where(held.c.id.in_(wanted))).mappings()
        found = {row["id"]: row_of(row) for row in rows}
    return [found[id_] for id_ in wanted]


def count(ledger: Ledger, search: Search) -> int:
    """How many are meant."""
    with ledger.connection() as connection:
        return connection.execute(select(func.count()).select_from(held).where(*where(search))).scalar_one()


def groups(
    ledger: Ledger, search: Search, by: GroupBy, *, offset: int = 0, limit: int = 50
) -> tuple[list[HeldGroup], int]:
    """The largest groups of what is meant, and how many groups there are. What has no text belongs to no campaign."""
    key = GROUPS[by]
    conditions = where(search)
    if by == "text":
        conditions.append(held.c.text != "")
    grouped: ColumnElement[Any] = plain(key) if search.scans else key
    number = func.count().label("number")
    largest = (
        select(
            grouped.label("key"),
            number,
            func.min(held.c.received).label("first"),
            func.max(held.c.received).label("last"),
            func.max(held.c.score).label("top_score"),
            func.sum(held.c.size).label("octets"),
            # Ids sort by time.
            func.max(held.c.id).label("newest"),
            func.count().over().label("groups"),
        )
        .where(*conditions)
        .group_by(grouped)
        .order_by(number.desc(), grouped)
        .limit(limit)
        .offset(offset)
    )
    with ledger.connection() as connection:
        rows = [dict(row) for row in connection.execute(largest).mappings()]
        # Only of those shown: to tell the different ones apart costs as much as all the rest.
        members = select(key, func.count(distinct(held.c.account)), func.count(distinct(held.c.sender))).where(
            *conditions, key.in_([row["key"] for row in rows])
        )
        different = {name: (accounts, senders) for name, accounts, senders in connection.execute(members.group_by(key))}
        newest = select(held.c.id, held.c.subject).where(held.c.id.in_([row["newest"] for row in rows]))
        subjects = dict(connection.execute(newest).all())
    total = rows[0]["groups"] if rows else 0
    return [_group(row, different, subjects) for row in rows], total


def _group(row: dict[str, Any], different: dict[str, tuple[int, int]], subjects: dict[str, str]) -> HeldGroup:
    accounts, senders = different.get(row["key"], (1, 1))
    return HeldGroup(
        accounts=accounts,
        senders=senders,
        subject=subjects.get(row["newest"], ""),
        **{name: row[name] for name in ("key", "number", "first", "last", "top_score", "octets")},
    )


def one(ledger: Ledger, id_: str) -> HeldRow | None:
    """A message that is or was held, as lists show it."""
    with ledger.connection() as connection:
        row = connection.execute(select(held).where(held.c.id == id_)).mappings().first()
    return row_of(row) if row else None


def by_ids(ledger: Ledger, ids: Sequence[str]) -> dict[str, HeldRow]:
    """What is known of these messages, by id."""
    found: dict[str, HeldRow] = {}
    with ledger.connection() as connection:
        for some in portions(ids):
            query = select(held).where(held.c.id.in_(some))
            found |= {row["id"]: row_of(row) for row in connection.execute(query).mappings()}
    return found


def similar(ledger: Ledger, id_: str, text: str, *, limit: int = 50) -> list[Similar]:
    """Other messages with the same text, whatever became of them, newest first; none for a text without fingerprint."""
    if not text:
        return []
    query = (
        select(
            *(decision.c[name] for name in ("id", "received", "account", "sender", "subject", "action", "score")),
            func.coalesce(held.c.state, "").label("state"),
        )
        .select_from(decision.outerjoin(held, held.c.id == decision.c.id))
        .where(decision.c.text == text, decision.c.id != id_)
        .order_by(decision.c.received.desc())
        .limit(limit)
    )
    with ledger.connection() as connection:
        rows = connection.execute(query).mappings()
        return [Similar(**{name: row[name] for name in Similar.__struct_fields__}) for row in rows]


def same_text(ledger: Ledger, text: str, most: int = 10_000) -> dict[str, int]:
    """How many messages had this text, by action; at most `most` of the newest are counted."""
    if not text:
        return {}
    newest = select(decision.c.action).where(decision.c.text == text).order_by(decision.c.received.desc()).limit(most)
    table = newest.subquery()
    with ledger.connection() as connection:
        return dict(connection.execute(select(table.c.action, func.count()).group_by(table.c.action)).all())


def where(search: Search) -> list[ColumnElement[bool]]:
    """The conditions on `held` that say which messages are meant."""
    table = held.c
    found: list[ColumnElement[bool]] = [_of_state(search.state)]
    exact = ("account", "sender", "text", "action")
    found += [table[name] == value for name in exact if (value := getattr(search, name))]
    if search.words:
        found += [table.search.contains(word, autoescape=True) for word in folded(search.words).split()[:8]]
    if search.signal:
        found.append(table.signals.contains(f" {search.signal} ", autoescape=True))
    if search.recipient:
        found.append(table.id.in_(select(recipient.c.decision).where(recipient.c.address == search.recipient.lower())))
    if search.score_from is not None:
        found.append(table.score >= search.score_from)
    if search.score_to is not None:
        found.append(table.score <= search.score_to)
    if search.since:
        found.append(table.received >= search.since)
    if search.before:
        found.append(table.received < search.before)
    return found


def row_of(row: RowMapping) -> HeldRow:
    """A row of the table as lists show it."""
    shown = {name: row[name] for name in HeldRow.__struct_fields__ if name in row}
    return HeldRow(
        **shown
        | {
            "recipients": _strings.decode(row["recipients"]),
            "signals": tuple(row["signals"].split()),
            "change_reason": row["reason"],
        }
    )


def plain(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, without the order of an index."""
    return func.coalesce(column, column)


def _of_state(state: str) -> ColumnElement[bool]:
    if not state:
        return held.c.open == True  # noqa: E712 - this is SQL.
    if state in OPEN:
        return and_(held.c.open == True, held.c.state == state)  # noqa: E712 - this is SQL.
    if state == "closed":
        return held.c.open == False  # noqa: E712 - this is SQL.
    return held.c.state == state
