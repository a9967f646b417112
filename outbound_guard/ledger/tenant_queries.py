"""What a tenant sees: the accounts of a user who sees no others, and their mail. Sync; all raise LedgerError.

Every question has the user's accounts as a condition of its SQL. Whoever has none sees nothing. What belongs to
somebody else is answered as what there is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, and_, false, func, or_, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_columns import folded
from outbound_guard.ledger.held_queries import HeldRow, row_of
from outbound_guard.ledger.retention import OPEN
from outbound_guard.ledger.tables import account, account_seen, decision, delivery, held, recipient, standing
from outbound_guard.ledger.traffic_tables import traffic
from outbound_guard.mail import Signal

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

Accounts = tuple[str, ...]
"""The accounts of a tenant: names, or patterns that begin or end with `*`."""
_EDGES = ".@/:"
"""One of these stands beside the `*`: `*shop.test` would show evilshop.test too."""


class OwnAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account, as its tenant sees it."""

    account: str
    name: str
    held: int
    """Messages held or in quarantine."""
    messages: int
    """Of the last 24 hours, by whole hours."""
    suspended: bool


class OwnHeld(msgspec.Struct, frozen=True, kw_only=True):
    """A held message with what it is held for."""

    row: HeldRow
    signals: tuple[Signal, ...]
    code: str


class OwnDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered for one recipient."""

    time: float
    recipient: str
    code: int
    text: str
    final: bool


class OwnMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what became of it."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    recipients: tuple[str, ...]
    subject: str
    size: int
    action: str
    """relay | defer | hold | quarantine | reject"""
    held: str
    """If it was held, its state now."""
    deliveries: tuple[OwnDelivery, ...] = ()


class OwnSearch(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are meant; what is empty does not restrict."""

    account: str = ""
    sender: str = ""
    recipient: str = ""
    words: str = ""
    """Of the subject."""
    limit: int = 50
    offset: int = 0


def theirs(column: Column[str], accounts: Accounts) -> ColumnElement[bool]:
    """The condition that a column names one of these accounts; false if there are none.

    Compared letter for letter: LIKE would take upper and lower case for the same in one database and not in the other.
    """
    names = [one for one in accounts if "*" not in one]
    found: list[ColumnElement[bool]] = [column.in_(names)] if names else []
    for pattern in accounts:
        part = pattern.strip("*")
        if not _bounded(pattern):
            continue
        if pattern == f"*{part}":
            begin = func.length(column) - len(part) + 1
            found.append(and_(begin > 0, func.substr(column, begin) == part))
        else:
            found.append(func.substr(column, 1, len(part)) == part)
    return or_(false(), *found)


def own_accounts(
    ledger: Ledger, accounts: Accounts, now: float, *, limit: int = 50, offset: int = 0
) -> tuple[list[OwnAccount], int]:
    """Their accounts by name, and how many there are. `now`: unix seconds."""
    seen = select(account_seen.c.account).where(theirs(account_seen.c.account, accounts))
    entered = select(account.c.account).where(theirs(account.c.account, accounts))
    both = seen.union(entered).subquery()
    with ledger.connection() as connection:
        total = connection.execute(select(func.count()).select_from(both)).scalar_one()
        query = select(both.c.account).order_by(both.c.account).limit(limit).offset(offset)
        names = list(connection.execute(query).scalars())
        known = dict(
            connection.execute(select(account.c.account, account.c.name).where(account.c.account.in_(names))).all()
        )
        waiting: dict[str, int] = dict(
            connection.execute(
                select(held.c.account, func.count())
                .where(held.c.account.in_(names), held.c.state.in_(OPEN))
                .group_by(held.c.account)
            ).all()
        )
        day = dict(
            connection.execute(
                select(traffic.c.account, func.sum(traffic.c.messages))
                .where(traffic.c.account.in_(names), traffic.c.hour > int(now // 3600) - 24)
                .group_by(traffic.c.account)
            ).all()
        )
        stopped = set(
            connection.execute(
                select(standing.c.subject).where(
                    standing.c.scope == "account",
                    standing.c.subject.in_(names),
                    standing.c.change == "suspended",
                    or_(standing.c.until == 0, standing.c.until > now),
                )
            ).scalars()
        )
    rows = [
        OwnAccount(
            account=name,
            name=known.get(name, ""),
            held=waiting.get(name, 0),
            messages=int(day.get(name, 0)),
            suspended=name in stopped,
        )
        for name in names
    ]
    return rows, total


def own_held(ledger: Ledger, accounts: Accounts, search: OwnSearch) -> tuple[list[HeldRow], int]:
    """Their mail that is held or in quarantine, newest first, and how much of it there is."""
    where: list[ColumnElement[bool]] = [held.c.open, theirs(held.c.account, accounts)]
    where += [held.c[name] == value for name in ("account", "sender") if (value := getattr(search, name))]
    if search.words:
        where += [held.c.search.contains(word, autoescape=True) for word in folded(search.words).split()[:8]]
    if search.recipient:
        of = select(recipient.c.decision).where(recipient.c.address == search.recipient.lower())
        where.append(held.c.id.in_(of))
    query = select(held).where(*where).order_by(held.c.received.desc()).limit(search.limit).offset(search.offset)
    with ledger.connection() as connection:
        total = connection.execute(select(func.count()).select_from(held).where(*where)).scalar_one()
        return [row_of(row) for row in connection.execute(query).mappings()], total


def own_held_one(ledger: Ledger, accounts: Accounts, id_: str) -> OwnHeld | None:
    """One message of theirs that is or was held; None if there is none, or it is somebody else's."""
    query = (
        select(
            held,
            func.coalesce(decision.c.signals, "[]").label("said"),
            func.coalesce(decision.c.code, "").label("word"),
        )
        .select_from(held.outerjoin(decision, decision.c.id == held.c.id))
        .where(held.c.id == id_, theirs(held.c.account, accounts))
    )
    with ledger.connection() as connection:
        row = connection.execute(query).mappings().first()
    return OwnHeld(row=row_of(row), signals=_signals.decode(row["said"]), code=row["word"]) if row else None


def own_messages(ledger: Ledger, accounts: Accounts, search: OwnSearch) -> list[OwnMessage]:
    """Their messages, newest first, without what was answered for them."""
    where: list[ColumnElement[bool]] = [theirs(decision.c.account, accounts)]
    where += [decision.c[name] == value for name in ("account", "sender") if (value := getattr(search, name))]
    if search.recipient:
        of = select(recipient.c.decision).where(recipient.c.address == search.recipient.lower())
        where.append(decision.c.id.in_(of))
    if search.words:
        where += [decision.c.subject.icontains(word, autoescape=True) for word in search.words.split()[:8]]
    query = _message().where(*where).order_by(decision.c.received.desc()).limit(search.limit).offset(search.offset)
    with ledger.connection() as connection:
        return [_message_of(row) for row in connection.execute(query).mappings()]


def own_message(ledger: Ledger, accounts: Accounts, id_: str) -> OwnMessage | None:
    """One message of theirs with what was answered for it; None if there is none, or it is somebody else's."""
    columns = [delivery.c[name] for name in OwnDelivery.__struct_fields__]
    with ledger.connection() as connection:
        row = (
            connection.execute(_message().where(decision.c.id == id_, theirs(decision.c.account, accounts)))
            .mappings()
            .first()
        )
        if row is None:
            return None
        answers = connection.execute(
            select(*columns).where(delivery.c.id == id_).order_by(delivery.c.time, delivery.c.serial).limit(1000)
        )
        said = tuple(OwnDelivery(**one) for one in answers.mappings())
    return msgspec.structs.replace(_message_of(row), deliveries=said)


def _message() -> Any:
    names = [name for name in OwnMessage.__struct_fields__ if name not in ("held", "deliveries")]
    return select(*(decision.c[name] for name in names), func.coalesce(held.c.state, "").label("held")).select_from(
        decision.outerjoin(held, held.c.id == decision.c.id)
    )


def _message_of(row: Any) -> OwnMessage:
    return OwnMessage(**{**row, "recipients": _strings.decode(row["recipients"])})


def check_accounts(accounts: Sequence[str]) -> str:
    """What is wrong with the accounts of a tenant, in words; empty: nothing."""
    for one in accounts:
        part = one.strip("*")
        if not part or one not in (part, f"*{part}", f"{part}*") or "*" in part:
            return f"{one[:80]!r} is no account, nor a pattern with one `*` at its beginning or end"
        if one != part and not _bounded(one):
            return f"{one[:80]!r} would name others too: beside the `*` stands one of . @ / :, as in *.example.com"
        if one != part and len(part) < 3:
            return f"{one[:80]!r} names too much: a pattern has at least three other characters"
        if not one.isprintable() or len(one) > 254:
            return f"{one[:80]!r} cannot be an account"
    return "" if accounts else "a tenant needs at least one account"


def _bounded(pattern: str) -> bool:
    """True for a pattern with its one `*` at the beginning or end, and beside it what parts of names end with."""
    part = pattern.strip("*")
    begins, ends = pattern == f"*{part}" and part[:1], pattern == f"{part}*" and part[-1:]
    return "*" not in part and any(edge and edge in _EDGES for edge in (begins, ends))
