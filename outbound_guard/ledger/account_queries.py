"""Questions to the ledger about many accounts: the list, paged, searched and sorted. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import account, account_seen, held, sender_account, sender_seen, standing
from outbound_guard.ledger.traffic_tables import traffic

STATES = ("suspended", "senders", "probation", "limited", "exempt", "held")
"""What a list can be narrowed to: itself suspended, senders of it suspended, on probation, and so on."""
SORTS = ("account", "state", "held", "messages", "last")
DAY_HOURS = 24
_CHANGES = {"probation": "probation", "limited": "limited", "exempt": "exempted"}
_RANKS = (("suspended", 5), ("probation", 3), ("limited", 2), ("exempted", 1))
"""In the order of states: what needs attention first."""

Row = dict[str, Any]


class AccountFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts are meant, and in which order."""

    search: str = ""
    """Part of the account, its name, its contact or a pattern of its senders, or the beginning of a sender."""
    state: str = ""
    """One of STATES; empty: any."""
    sort: str = "account"
    """One of SORTS. Held and messages: the most first; last: the latest first; state: suspended first."""
    limit: int = 50
    """0: all."""
    offset: int = 0


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account in the list."""

    account: str
    name: str = ""
    contact: str = ""
    entered: bool = False
    """True if it is in the directory."""
    suspended: bool = False
    senders_suspended: int = 0
    limited: bool = False
    exempt: bool = False
    probation: bool = False
    """The last three: itself or one of its senders."""
    held: int = 0
    day: dict[str, int] = {}
    """Messages of the last 24 hours by action."""
    last: float = 0.0
    """Unix time at which it was last seen, to some minutes."""


def account_page(ledger: Ledger, filters: AccountFilters, now: float) -> tuple[list[AccountRow], int]:
    """A page of the list, and how many accounts there are in all of it."""
    where, ranked = _restrictions(filters, now), _ranking(filters.sort, now)
    with ledger.connection() as connection:
        accounts, total = (
            _plain(connection, filters, where) if ranked is None else _ranked(connection, filters, where, ranked)
        )
    return account_rows(ledger, accounts, now), total


def _plain(
    connection: Connection, filters: AccountFilters, where: Sequence[ColumnElement[bool]]
) -> tuple[list[str], int]:
    seen = account_seen.c.account
    order = [account_seen.c.last.desc(), seen] if filters.sort == "last" else [seen]
    if not filters.search:
        accounts = list(
            connection.execute(
                _cut(select(seen).where(*where).order_by(*order), filters.offset, filters.limit)
            ).scalars()
        )
        return accounts, _count(connection, filters, where, len(accounts))
    # A search costs the most, so it is done once, and counts what it finds.
    query = select(seen, func.count().over()).where(*where).order_by(*order)
    rows = connection.execute(_cut(query, filters.offset, filters.limit)).all()
    return [row[0] for row in rows], rows[0][1] if rows else _count(connection, filters, where, 0)


def _ranked(
    connection: Connection, filters: AccountFilters, where: Sequence[ColumnElement[bool]], ranked: Any
) -> tuple[list[str], int]:
    """Those that have a rank, and then the others: to sort all by what most have none of would cost the most."""
    seen = account_seen.c.account
    among = [ranked.c.account.in_(select(seen).where(*where))] if where else []
    first = select(ranked.c.account).where(*among).order_by(ranked.c.rank.desc(), ranked.c.account)
    accounts = list(connection.execute(_cut(first, filters.offset, filters.limit)).scalars())
    if not filters.limit or len(accounts) < filters.limit:
        before = (
            len(accounts) + filters.offset
            if accounts
            else connection.execute(select(func.count()).select_from(first.order_by(None).subquery())).scalar_one()
        )
        rest = select(seen).where(*where, seen.not_in(select(ranked.c.account))).order_by(seen)
        left = filters.limit - len(accounts) if filters.limit else 0
        accounts += connection.execute(_cut(rest, max(0, filters.offset - before), left)).scalars()
    return accounts, _count(connection, filters, where, len(accounts))


def _count(connection: Connection, filters: AccountFilters, where: Sequence[ColumnElement[bool]], found: int) -> int:
    if not filters.limit or (not filters.offset and found < filters.limit):
        return filters.offset + found
    return connection.execute(select(func.count()).select_from(account_seen).where(*where)).scalar_one()


def _cut(query: Select[Any], offset: int, limit: int) -> Select[Any]:
    query = query.offset(offset)
    return query.limit(limit) if limit else query


def account_rows(ledger: Ledger, accounts: Sequence[str], now: float) -> list[AccountRow]:
    """What the list shows of these accounts, in their order."""
    rows: list[AccountRow] = []
    for some in portions(accounts):
        rows += _some(ledger, some, now)
    return rows


def some_senders(ledger: Ledger, accounts: Sequence[str], most: int) -> list[tuple[str, str]]:
    """Pairs of account and sender: up to `most` senders of each account."""
    found: list[tuple[str, str]] = []
    with ledger.connection() as connection:
        for name in accounts:
            query = select(sender_seen.c.account, sender_seen.c.sender).where(sender_seen.c.account == name).limit(most)
            found += [(row.account, row.sender) for row in connection.execute(query)]
    return found


def _some(ledger: Ledger, accounts: Sequence[str], now: float) -> list[AccountRow]:
    found: dict[str, Row] = {name: {"account": name, "day": {}} for name in accounts}
    with ledger.connection() as connection:
        query = select(account_seen.c.account, account_seen.c.last).where(account_seen.c.account.in_(accounts))
        for name, last in connection.execute(query):
            found[name]["last"] = last
        entries = select(account.c.account, account.c.name, account.c.contact).where(account.c.account.in_(accounts))
        for name, called, contact in connection.execute(entries):
            found[name] |= {"name": called, "contact": contact, "entered": True}
        waiting = select(held.c.account, func.count()).where(held.c.open, held.c.account.in_(accounts))
        for name, number in connection.execute(waiting.group_by(held.c.account)):
            found[name]["held"] = number
        day = select(traffic.c.account, traffic.c.action, func.sum(traffic.c.messages))
        day = day.where(traffic.c.account.in_(accounts), traffic.c.hour > _yesterday(now))
        for name, action, messages in connection.execute(day.group_by(traffic.c.account, traffic.c.action)):
            found[name]["day"][action] = int(messages)
        own = (standing.c.scope == "account") & standing.c.subject.in_(accounts)
        stands = select(standing.c.scope, standing.c.subject, standing.c.account, standing.c.change)
        stands = stands.where(own | standing.c.account.in_(accounts), _in_force(now))
        for scope, subject, of, change in connection.execute(stands):
            _mark(found[subject if scope == "account" else of], scope, change)
    return [AccountRow(**row) for row in found.values()]


def _mark(row: Row, scope: str, change: str) -> None:
    if change == "suspended" and scope == "sender":
        row["senders_suspended"] = row.get("senders_suspended", 0) + 1
    else:
        row[{"exempted": "exempt"}.get(change, change)] = True


def _restrictions(filters: AccountFilters, now: float) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    seen = account_seen.c.account
    if filters.state == "held":
        where.append(seen.in_(select(held.c.account).where(held.c.open)))
    elif filters.state:
        where.append(seen.in_(_standing_accounts(filters.state, now)))
    if text := filters.search.strip():
        entries = select(account.c.account)
        patterns = select(sender_account.c.account)
        # What begins with the text, by the index: there can be many more senders than accounts.
        senders = select(sender_seen.c.account).where(
            or_(
                *(
                    and_(sender_seen.c.sender >= begin, sender_seen.c.sender < begin + "\U0010ffff")
                    for begin in {text, text.lower()}
                )
            )
        )
        _, at, domain = text.rpartition("@")
        where.append(
            or_(
                _contains(seen, text),
                seen.in_(entries.where(or_(_contains(account.c.name, text), _contains(account.c.contact, text)))),
                seen.in_(patterns.where(_contains(sender_account.c.pattern, text))),
                seen.in_(
                    patterns.where(sender_account.c.pattern.in_([f"*@{domain}", f"*@{domain.lower()}"] if at else []))
                ),
                seen.in_(senders),
            )
        )
    return where


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.icontains(text, autoescape=True)
    return found


def _standing_accounts(state: str, now: float) -> Select[Any]:
    query = select(_of_account()).where(_in_force(now))
    if state == "suspended":
        return query.where(standing.c.change == "suspended", standing.c.scope == "account")
    if state == "senders":
        return query.where(standing.c.change == "suspended", standing.c.scope == "sender")
    return query.where(standing.c.change == _CHANGES.get(state, state))


def _of_account() -> ColumnElement[str]:
    return case((standing.c.scope == "account", standing.c.subject), else_=standing.c.account)


def _in_force(now: float) -> ColumnElement[bool]:
    on = standing.c.change.in_(("suspended", "limited", "exempted", "probation"))
    return on & or_(standing.c.until == 0, standing.c.until > now)


def _ranking(sort: str, now: float) -> Any:
    """What gives accounts a rank, the highest first, as columns `account` and `rank`; None: the order is their own."""
    if sort == "held":
        query = select(held.c.account, func.count().label("rank")).where(held.c.open, held.c.account != "")
        query = query.group_by(held.c.account)
    elif sort == "messages":
        # Grouped by an expression, or SQLite would go through the traffic of all time in the order of accounts.
        name = func.coalesce(traffic.c.account, "").label("account")
        query = select(name, func.sum(traffic.c.messages).label("rank"))
        query = query.where(traffic.c.hour > _yesterday(now), traffic.c.account != "").group_by(name)
    elif sort == "state":
        own = [(standing.c.change == change, rank) for change, rank in _RANKS]
        rank = case((and_(standing.c.change == "suspended", standing.c.scope == "sender"), 4), *own, else_=0)
        of = _of_account().label("account")
        query = select(of, func.max(rank).label("rank")).where(_in_force(now), of != "").group_by(of)
    else:
        return None
    return query.cte("ranked")


def _yesterday(now: float) -> int:
    return int(now // 3600) - DAY_HOURS
