"""Questions to the roll-up of traffic, and who in it is worth a look. Sync; all raise LedgerError.

The roll-up knows whole hours of UTC: an hour is unix seconds divided by 3,600, and a time means the hour it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, case, func, literal_column, or_, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import decision, standing
from outbound_guard.ledger.traffic_storing import EVERYBODY, HOUR
from outbound_guard.ledger.traffic_tables import traffic

RISK = 3.0
"""The lowest score of what `at_risk` looks at, the same as in the index `decision_risk`."""
# To group by account SQLite would go through all hours in the order of an index; of the last ones alone it is quick.
_ANY_ORDER = traffic.c.account.concat(literal_column("''")).label("account")


class Hour(msgspec.Struct, frozen=True):
    """The traffic of one hour, of one action."""

    hour: int
    """Unix seconds / 3600."""
    action: str
    messages: int
    recipients: int
    top: float
    """The highest score."""


class Risk(msgspec.Struct, frozen=True):
    """A sender whose mail scored high."""

    sender: str
    account: str
    top: float
    """Its highest score of that time."""
    messages: int
    """Those that scored at least `RISK`."""
    relayed: int
    """Of these, how many the verdict let go."""
    last: float
    """Unix seconds of the newest of them."""
    suspended: str
    """sender | account: what of it is suspended; empty: nothing."""
    until: float
    """When the suspension ends by itself, in unix seconds; 0: not, or none."""


def by_hour(ledger: Ledger, since: float, before: float = 0.0, account: str = EVERYBODY) -> list[Hour]:
    """The traffic of an account, or of all together, oldest first; hours without any are left out.

    From the hour of `since` to that of `before` (unix seconds; 0: now).
    """
    table = traffic.c
    query = select(table.hour, table.action, table.messages, table.recipients, table.top)
    query = query.where(table.account == account, table.hour >= int(since // HOUR))
    if before:
        query = query.where(table.hour <= int(before // HOUR))
    with ledger.connection() as connection:
        return [Hour(*row) for row in connection.execute(query.order_by(table.hour, table.action))]


def by_account(ledger: Ledger, since: float, accounts: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
    """Messages since the hour of `since` (unix seconds) by account and action: of these accounts, or of all."""
    table = traffic.c
    name = _ANY_ORDER if accounts is None else table.account
    query = select(name, table.action, func.sum(table.messages)).where(table.hour >= int(since // HOUR))
    query = query.group_by(name, table.action)
    found: dict[str, dict[str, int]] = {}
    if accounts is None:
        queries = [query.where(table.account != EVERYBODY)]
    else:
        queries = [query.where(table.account.in_(some)) for some in portions(accounts)]
    with ledger.connection() as connection:
        for one in queries:
            for account, action, messages in connection.execute(one):
                found.setdefault(account, {})[action] = int(messages)
    return found


def known_since(ledger: Ledger) -> float | None:
    """From when on the roll-up knows the traffic (unix seconds); None if it knows none yet."""
    query = select(func.min(traffic.c.hour)).where(traffic.c.account == EVERYBODY)
    with ledger.connection() as connection:
        hour = connection.execute(query).scalar()
    return None if hour is None else hour * HOUR


def at_risk(ledger: Ledger, since: float, now: float, limit: int = 20) -> list[Risk]:
    """The senders with the highest scores since then (unix seconds); those that are suspended already come last."""
    top = func.max(decision.c.score)
    own, whole = _suspended("sender", now), _suspended("account", now)
    stopped = or_(decision.c.sender.in_(own), decision.c.account.in_(whole))
    query = (
        select(
            decision.c.sender,
            decision.c.account,
            top.label("top"),
            func.count().label("messages"),
            func.sum(case((decision.c.action == "relay", 1), else_=0)).label("relayed"),
            func.max(decision.c.received).label("last"),
        )
        # The number must stand in the text of the query: only then SQLite knows that its index has all of them.
        .where(decision.c.score >= literal_column(f"{RISK:g}"), decision.c.received >= since)
        .group_by(decision.c.sender, decision.c.account)
        .order_by(func.max(case((stopped, 1), else_=0)), top.desc(), decision.c.sender)
        .limit(limit)
    )
    with ledger.connection() as connection:
        rows = connection.execute(query).mappings().all()
        names = {row["sender"] for row in rows} | {row["account"] for row in rows}
        in_force = select(standing.c.scope, standing.c.subject, standing.c.until).where(
            standing.c.scope.in_(("sender", "account")), standing.c.subject.in_(names), *_in_force(now)
        )
        until = {(scope, subject): end for scope, subject, end in connection.execute(in_force)}
    return [_risk(row, until) for row in rows]


def _risk(row: RowMapping, until: dict[tuple[str, str], float]) -> Risk:
    account, sender = ("account", row["account"]), ("sender", row["sender"])
    by = account if account in until else sender if sender in until else None
    return Risk(
        row["sender"],
        row["account"],
        row["top"],
        row["messages"],
        int(row["relayed"]),
        row["last"],
        by[0] if by else "",
        until[by] if by else 0.0,
    )


def _suspended(scope: str, now: float) -> Select[tuple[str]]:
    return select(standing.c.subject).where(standing.c.scope == scope, *_in_force(now))


def _in_force(now: float) -> tuple[ColumnElement[bool], ...]:
    of = standing.c
    return of.kind == "suspension", of.change == "suspended", or_(of.until == 0, of.until > now)
