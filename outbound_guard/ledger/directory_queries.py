"""Questions to the ledger about accounts, senders and their standing. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import RowMapping, func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.records import Standing
from outbound_guard.ledger.retention import OPEN
from outbound_guard.ledger.tables import account, held, revision, sender_account, standing, standing_history

_limits: msgspec.json.Decoder[dict[str, int]] = msgspec.json.Decoder(dict[str, int])


def directory_revision(ledger: Ledger) -> int:
    """Grows whenever `standings` or `mapping` would answer otherwise."""
    with ledger.connection() as connection:
        query = select(revision.c.number).where(revision.c.name == "directory")
        return connection.execute(query).scalar() or 0


def standings(ledger: Ledger, subject: str | None = None) -> list[Standing]:
    """The last word on each subject and kind, what was taken back included; of one subject or of all."""
    query = select(standing).order_by(standing.c.subject, standing.c.kind)
    if subject is not None:
        query = query.where((standing.c.subject == subject) | (standing.c.account == subject))
    with ledger.connection() as connection:
        return [_standing_of(row) for row in connection.execute(query).mappings()]


def history(ledger: Ledger, subject: str, limit: int = 50) -> list[Standing]:
    """What happened to the standing of a subject and, if it is an account, of its senders; newest first."""
    table = standing_history
    query = select(table).where((table.c.subject == subject) | (table.c.account == subject))
    query = query.order_by(table.c.time.desc(), table.c.serial.desc()).limit(limit)
    with ledger.connection() as connection:
        return [_standing_of(row) for row in connection.execute(query).mappings()]


def on_probation(ledger: Ledger, sender: str, account: str, at: float) -> bool:
    """True if a sender, or its account, was on probation at a time (unix seconds), as far as that is kept."""
    table = standing_history.c
    query = select(table.until).where(table.change == "probation", table.time <= at)
    query = query.order_by(table.time.desc(), table.serial.desc()).limit(1)
    with ledger.connection() as connection:
        ends = [
            connection.execute(query.where(table.scope == scope, table.subject == subject)).scalar()
            for scope, subject in (("sender", sender), ("account", account))
        ]
    # An end that has passed when it is written down takes a probation back.
    return any(until is not None and until > at for until in ends)


def mapping(ledger: Ledger) -> dict[str, str]:
    """The account of each sender or pattern."""
    with ledger.connection() as connection:
        query = select(sender_account.c.pattern, sender_account.c.account)
        return dict(connection.execute(query).all())


def owners(ledger: Ledger, patterns: Sequence[str]) -> dict[str, str]:
    """The accounts that have these senders or patterns, by pattern; what nobody has is not in it."""
    found: dict[str, str] = {}
    with ledger.connection() as connection:
        for some in portions(patterns):
            query = select(sender_account.c.pattern, sender_account.c.account)
            query = query.where(sender_account.c.pattern.in_(some))
            found |= dict(connection.execute(query).all())
    return found


def senders_of(ledger: Ledger, name: str) -> list[str]:
    """The senders and patterns that belong to an account by the directory."""
    query = select(sender_account.c.pattern).where(sender_account.c.account == name)
    with ledger.connection() as connection:
        return list(connection.execute(query.order_by(sender_account.c.pattern)).scalars())


def accounts(ledger: Ledger, name: str | None = None) -> dict[str, dict[str, Any]]:
    """The directory's entries (`name`, `contact`, `note`, `created`) by account; of one account or of all."""
    query = select(account)
    if name is not None:
        query = query.where(account.c.account == name)
    with ledger.connection() as connection:
        return {row["account"]: dict(row) for row in connection.execute(query).mappings()}


def held_counts(ledger: Ledger, name: str | None = None) -> dict[str, int]:
    """Messages held or in quarantine now, by account: of one, or of all that have any."""
    query = select(held.c.account, func.count()).where(held.c.state.in_(OPEN)).group_by(held.c.account)
    if name is not None:
        query = query.where(held.c.account == name)
    with ledger.connection() as connection:
        return dict(connection.execute(query).all())


def _standing_of(row: RowMapping) -> Standing:
    return Standing(
        time=row["time"],
        scope=row["scope"],
        subject=row["subject"],
        change=row["change"],
        account=row["account"],
        by=row["by"],
        reason=row["reason"],
        until=row["until"],
        limits=_limits.decode(row["limits"]),
        pool=row["pool"],
    )
