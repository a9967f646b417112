"""Questions to the ledger about mail. Sync: called in threads or on the command line. All raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Select, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.retention import OPEN
from outbound_guard.ledger.tables import audit, decision, delivery, held, recipient
from outbound_guard.ledger.traffic_queries import by_account
from outbound_guard.mail import Signal

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are meant; what is empty does not restrict."""

    account: str = ""
    sender: str = ""
    recipient: str = ""
    action: str = ""
    state: str = ""
    """held | quarantine; only of held mail."""
    since: float = 0.0
    before: float = 0.0
    """Unix seconds."""
    limit: int = 1000
    """At most so many, the newest; 0: all."""

    @property
    def empty(self) -> bool:
        """True if nothing restricts: such filters must not be acted on."""
        return not (self.account or self.sender or self.recipient or self.action or self.state or self.since)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is held, or was. The first ten are the fixed part of `held list --json`."""

    id: str
    received: float
    account: str
    sender: str
    mail_from: str
    recipients: tuple[str, ...]
    subject: str
    action: str
    score: float
    reasons: tuple[str, ...]
    state: str
    due: float
    changed: float
    changed_by: str
    change_reason: str


def held_list(ledger: Ledger, filters: Filters) -> list[Held]:
    """The messages that are held or in quarantine now, oldest first."""
    states = (filters.state,) if filters.state else OPEN
    query = _held().where(held.c.state.in_(states), *_restrictions(filters, held))
    if filters.action:
        query = query.where(decision.c.action == filters.action)
    query = query.order_by(held.c.received.desc(), held.c.id.desc())
    if filters.limit:
        query = query.limit(filters.limit)
    with ledger.connection() as connection:
        return [_held_of(row) for row in reversed(connection.execute(query).mappings().all())]


def held_one(ledger: Ledger, id_: str) -> Held | None:
    """A message that is or was held."""
    with ledger.connection() as connection:
        row = connection.execute(_held().where(held.c.id == id_)).mappings().first()
    return _held_of(row) if row else None


def open_states(ledger: Ledger, node: str = "") -> dict[str, str]:
    """State by id of every message that waits in `held` or `quarantine`; of one host only, if it is named."""
    query = select(held.c.id, held.c.state).where(held.c.open)
    with ledger.connection() as connection:
        return dict(connection.execute(query.where(held.c.node == node) if node else query).all())


def held_states(ledger: Ledger, ids: Sequence[str]) -> dict[str, str]:
    """State by id of those of these messages that are or were held and are not forgotten yet."""
    states: dict[str, str] = {}
    with ledger.connection() as connection:
        for some in portions(ids):
            query = select(held.c.id, held.c.state).where(held.c.id.in_(some))
            states |= dict(connection.execute(query).all())
    return states


def decisions(ledger: Ledger, filters: Filters) -> list[dict[str, Any]]:
    """Decisions, newest first, each as the table has it with `recipients` and `signals` as lists."""
    query = select(decision).where(*_restrictions(filters, decision))
    if filters.action:
        query = query.where(decision.c.action == filters.action)
    query = query.order_by(decision.c.received.desc(), decision.c.id.desc())
    if filters.limit:
        query = query.limit(filters.limit)
    with ledger.connection() as connection:
        return [_decision_of(row) for row in connection.execute(query).mappings()]


def decision_one(ledger: Ledger, id_: str) -> dict[str, Any] | None:
    """One decision with everything about it: `deliveries` and `audit` too."""
    with ledger.connection() as connection:
        row = connection.execute(select(decision).where(decision.c.id == id_)).mappings().first()
        if row is None:
            return None
        found = _decision_of(row)
        tried = select(delivery).where(delivery.c.id == id_).order_by(delivery.c.time, delivery.c.serial)
        done = select(audit).where(audit.c.subject == id_).order_by(audit.c.time, audit.c.serial)
        found["deliveries"] = [_without_serial(row) for row in connection.execute(tried).mappings()]
        found["audit"] = [_without_serial(row) for row in connection.execute(done).mappings()]
    return found


def counts(ledger: Ledger, since: float, account: str = "") -> dict[str, dict[str, int]]:
    """Decisions since the hour of `since` (unix seconds) by account and action."""
    return by_account(ledger, since, [account] if account else None)


def seen(ledger: Ledger, scope: str, subject: str) -> str | None:
    """The account of a sender (or the account itself) if any mail of it is known, else None."""
    column = decision.c.sender if scope == "sender" else decision.c.account
    query = select(decision.c.account).where(column == subject).order_by(decision.c.received.desc()).limit(1)
    with ledger.connection() as connection:
        return connection.execute(query).scalar()


def _held() -> Select[Any]:
    # An outer join: a change of state can be in the ledger a moment before its decision.
    # What of it the table `held` says too is taken from the decision, which has all recipients.
    own = ("id", "received", "account", "sender", "state", "changed", "changed_by", "reason", "due")
    return select(
        *(held.c[name] for name in own),
        decision.c.mail_from,
        decision.c.recipients,
        decision.c.subject,
        decision.c.action,
        decision.c.score,
        decision.c.reason.label("why"),
        decision.c.signals,
    ).select_from(held.outerjoin(decision, held.c.id == decision.c.id))


def _restrictions(filters: Filters, table: Any) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if filters.account:
        where.append(table.c.account == filters.account)
    if filters.sender:
        where.append(table.c.sender == filters.sender)
    if filters.since:
        where.append(table.c.received >= filters.since)
    if filters.before:
        where.append(table.c.received < filters.before)
    if filters.recipient:
        address = filters.recipient.lower()
        where.append(table.c.id.in_(select(recipient.c.decision).where(recipient.c.address == address)))
    return where


def _held_of(row: RowMapping) -> Held:
    signals = _signals.decode(row["signals"] or "[]")
    told = sorted((signal for signal in signals if not signal.shadow), key=lambda signal: -abs(signal.weight))
    return Held(
        id=row["id"],
        received=row["received"],
        account=row["account"],
        sender=row["sender"],
        mail_from=row["mail_from"] or "",
        recipients=_strings.decode(row["recipients"] or "[]"),
        subject=row["subject"] or "",
        action=row["action"] or "",
        score=row["score"] or 0.0,
        reasons=tuple(f"{signal.name}: {signal.reason}" for signal in told) or ((row["why"],) if row["why"] else ()),
        state=row["state"],
        due=row["due"],
        changed=row["changed"],
        changed_by=row["changed_by"],
        change_reason=row["reason"],
    )


def _decision_of(row: RowMapping) -> dict[str, Any]:
    found = dict(row)
    found["recipients"] = list(_strings.decode(row["recipients"]))
    found["signals"] = [msgspec.to_builtins(signal) for signal in _signals.decode(row["signals"])]
    return found


def _without_serial(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "serial"}
