"""Questions to the ledger about the outbox. Sync: called in threads or on the command line. All raise LedgerError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import RowMapping, Select, func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import account, decision, delivery, outbox, outbox_sending, sender_account, standing

STATES = ("waiting", "sent", "failed", "left_out")
GATHERED = "route"
"""The group of what waits since its address had enough letters for a day: it goes with the next letter of the route."""

_data: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notice as it stands in the outbox; the fields are those of outbox_records.Notice."""

    serial: int
    time: float
    kind: str
    account: str
    sender: str
    subject: str
    reason: str
    data: dict[str, Any]
    to: str
    due: float
    count: int
    """How often it happened: at least once."""
    last: float
    """When it happened last (unix seconds)."""


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A notice by one route: what is to be sent, or was."""

    serial: int
    route: str
    state: str
    """waiting | sent | failed | left_out"""
    grouped: str
    created: float
    due: float
    expires: float
    attempts: int
    tried: float
    answer: str
    letter: str
    notice: Told


class Waiting(msgspec.Struct, frozen=True):
    """What is still to be sent."""

    routes: dict[str, int]
    """Sendings by route."""
    oldest: float
    """When the oldest that is overdue was due first (unix seconds); 0: nothing is overdue."""


def listing(
    ledger: Ledger,
    *,
    state: str = "",
    route: str = "",
    of: str = "",
    kind: str = "",
    below: int = 0,
    limit: int = 100,
) -> list[Sending]:
    """Sendings, the newest first; what is empty does not restrict.

    `of`: an account; `below`: only those with a smaller serial.
    """
    query = _sendings()
    for column, value in (
        (outbox_sending.c.state, state),
        (outbox_sending.c.route, route),
        (outbox.c.account, of),
        (outbox.c.kind, kind),
    ):
        if value:
            query = query.where(column == value)
    if below:
        query = query.where(outbox_sending.c.serial < below)
    return _found(ledger, query.order_by(outbox_sending.c.serial.desc()).limit(limit))


def one(ledger: Ledger, serial: int) -> Sending | None:
    """One sending."""
    found = _found(ledger, _sendings().where(outbox_sending.c.serial == serial))
    return found[0] if found else None


def some(ledger: Ledger, serials: Sequence[int]) -> dict[int, Sending]:
    """Sendings by their serial, at most a thousand at once; those that there are none of are missing."""
    return {found.serial: found for found in _found(ledger, _sendings().where(outbox_sending.c.serial.in_(serials)))}


def due(ledger: Ledger, route: str, now: float, limit: int = 100) -> list[Sending]:
    """What is to be sent by a route now, what has waited longest first."""
    c = outbox_sending.c
    query = _sendings().where(c.state == "waiting", c.route == route, c.due <= now)
    return _found(ledger, query.order_by(outbox_sending.c.due, outbox_sending.c.serial).limit(limit))


def together(ledger: Ledger, sending: Sending, limit: int = 500) -> list[Sending]:
    """Everything that goes out with it: what its letter held at the last try, or else what waits in its group.

    Oldest first, and always with it.
    """
    c = outbox_sending.c
    query = _sendings().where(c.state == "waiting", c.route == sending.route)
    if sending.letter:
        query = query.where(c.letter == sending.letter)
    elif sending.grouped:
        query = query.where(c.letter == "", c.grouped.in_((sending.grouped, GATHERED)))
    else:
        query = query.where(c.serial == sending.serial)
    # Of more than go into one letter, those whose turn it is.
    found = _found(ledger, query.order_by(c.serial != sending.serial, c.due, c.serial).limit(limit))
    return sorted(found, key=lambda one: (one.notice.time, one.serial))


def unrouted(ledger: Ledger, now: float, limit: int = 500) -> list[Told]:
    """Notices whose time has come and that go by no route yet, oldest first."""
    query = select(outbox).where(~outbox.c.routed, outbox.c.due <= now).order_by(outbox.c.serial).limit(limit)
    with ledger.connection() as connection:
        return [_told(row) for row in connection.execute(query).mappings()]


def letters_since(ledger: Ledger, addressee: str, since: float) -> int:
    """How many letters went to an address (by its digest) since then."""
    c = outbox_sending.c
    query = select(func.count(c.letter.distinct())).where(
        c.addressee == addressee, c.addressee != "", c.state == "sent", c.tried >= since
    )
    with ledger.connection() as connection:
        return int(connection.execute(query).scalar() or 0)


def last_of_group(ledger: Ledger, route: str, grouped: str) -> float:
    """When the last letter of a group went out by a route (unix seconds); 0: none did."""
    c = outbox_sending.c
    query = select(func.max(c.tried)).where(c.route == route, c.state == "sent", c.grouped == grouped)
    with ledger.connection() as connection:
        return float(connection.execute(query).scalar() or 0.0)


def by_key(ledger: Ledger, key: str) -> Sending | None:
    """The sending of a notice that goes by one route, by the notice's key."""
    found = _found(ledger, _sendings().where(outbox.c.key == key))
    return found[0] if found else None


def deliveries(ledger: Ledger, letter: str) -> list[dict[str, Any]]:
    """What became of a letter in the queue: time, code, enhanced, text of each answer, oldest first."""
    c = delivery.c
    query = select(c.time, c.code, c.enhanced, c.text).where(c.id == letter).order_by(c.time, c.serial)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def due_routes(ledger: Ledger, now: float) -> list[str]:
    """The routes by which something is to be sent now."""
    c = outbox_sending.c
    query = select(c.route).distinct().where(c.state == "waiting", c.due <= now)
    with ledger.connection() as connection:
        return sorted(connection.execute(query).scalars())


def numbers(ledger: Ledger) -> dict[tuple[str, str], int]:
    """How many sendings there are, by (route, state). It counts the whole table."""
    c = outbox_sending.c
    count = select(c.route, c.state, func.count()).group_by(c.route, c.state)
    with ledger.connection() as connection:
        return {(route, state): number for route, state, number in connection.execute(count)}


def waiting(ledger: Ledger, now: float) -> Waiting:
    """How many wait, and how late the latest is at `now` (unix seconds)."""
    c = outbox_sending.c
    count = select(c.route, func.count()).where(c.state == "waiting").group_by(c.route)
    late = select(func.min(c.created)).where(c.state == "waiting", c.due <= now)
    with ledger.connection() as connection:
        return Waiting(dict(connection.execute(count).all()), connection.execute(late).scalar() or 0.0)


def still_suspended(ledger: Ledger, notice: Told) -> bool:
    """True if the suspension whose end the notice tells of has held until then."""
    scope = str(notice.data.get("scope", ""))
    c = standing.c
    query = select(c.until).where(
        c.scope == scope,
        c.subject == (notice.account if scope == "account" else notice.sender),
        c.kind == "suspension",
        c.change == "suspended",
    )
    with ledger.connection() as connection:
        return connection.execute(query).scalar() == notice.data.get("until")


def latest_kept(ledger: Ledger, of: str, sender: str, until: float) -> dict[str, Any] | None:
    """The newest message of a sender, or else of an account, that was not simply passed on; None if there is none."""
    c = decision.c
    whose = c.sender == sender if sender else c.account == of
    columns = (c.id, c.received, c.sender, c.sender_kind, c.source, c.client_ip, c.mail_from, c.message_id, c.code)
    query = select(*columns).where(whose, c.received <= until + 60, c.received >= until - 86_400)
    query = query.where(c.action != "relay").order_by(c.received.desc()).limit(1)
    with ledger.connection() as connection:
        row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def contacts(ledger: Ledger, accounts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name and contact of accounts, as the directory has them."""
    c = account.c
    query = select(c.account, c.name, c.contact).where(c.account.in_(accounts))
    with ledger.connection() as connection:
        return {row.account: (row.name, row.contact) for row in connection.execute(query)}


def suspects(ledger: Ledger, of: str, since: float) -> set[str]:
    """Senders of an account that are suspended, or of whom something was to be told since then; and the account itself,
    by its name, if it is suspended or has too many such senders to name them."""
    c, n = standing.c, outbox.c
    suspended = select(c.subject).where(
        (c.account == of) | (c.subject == of), c.kind == "suspension", c.change == "suspended"
    )
    told = select(n.sender, n.kind).distinct().where(n.account == of, n.time >= since)
    with ledger.connection() as connection:
        found = set(connection.execute(suspended).scalars())
        for sender, kind in connection.execute(told):
            # One that is about many senders names none of them: each mailbox of the account may be among them.
            if sender or kind in ("held", "quarantined"):
                found.add(sender or of)
    return found


def patterns(ledger: Ledger, of: str) -> list[str]:
    """Which senders the directory says are an account's: addresses, senders, or with `*` in them."""
    c = sender_account.c
    with ledger.connection() as connection:
        return list(connection.execute(select(c.pattern).where(c.account == of).limit(2000)).scalars())


def tried(ledger: Ledger, id_: str) -> bool:
    """True if a message of ours has been tried by the queue already."""
    with ledger.connection() as connection:
        return connection.execute(select(delivery.c.serial).where(delivery.c.id == id_).limit(1)).first() is not None


def _sendings() -> Select[Any]:
    told = [column.label(f"n_{column.name}") for column in outbox.columns]
    return select(*outbox_sending.columns, *told).join(outbox, outbox.c.serial == outbox_sending.c.notice)


def _found(ledger: Ledger, query: Select[Any]) -> list[Sending]:
    with ledger.connection() as connection:
        return [_sending(row) for row in connection.execute(query).mappings()]


def _sending(row: RowMapping) -> Sending:
    names = [name for name in Sending.__struct_fields__ if name != "notice"]
    return Sending(**{name: row[name] for name in names}, notice=_told(row, "n_"))


def _told(row: RowMapping, before: str = "") -> Told:
    fields = {name: row[before + name] for name in Told.__struct_fields__ if name != "data"}
    return Told(**fields, data=_data.decode(row[f"{before}data"]))
