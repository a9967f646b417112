"""Where a message is: searching decisions, and what happened to one of them. Sync; all raise LedgerError.

What an index can find (an address, an account, a sender, a Message-ID, the time) leads; everything else is looked for
among at most `SCAN` of what that found, newest first, and the answer says how far back it has looked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, literal_column, or_, select, tuple_

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import (
    audit,
    bulk_action,
    bulk_item,
    decision,
    delivery,
    feedback,
    held,
    held_change,
    recipient,
    weight_history,
)
from outbound_guard.mail import first_id, last_id

SCAN = 10_000
"""Messages that are looked at for what no index knows, in one answer."""
NEWEST = (float("inf"), "")
_SHOWN = (
    decision.c.id,
    decision.c.received,
    decision.c.account,
    decision.c.sender,
    decision.c.mail_from,
    decision.c.recipients,
    decision.c.subject,
    decision.c.message_id,
    decision.c.client_ip,
    decision.c.action,
    decision.c.score,
    decision.c.size,
    decision.c.mode,
    decision.c.answered,
    held.c.state.label("held"),
)
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

Row = dict[str, Any]
Place = tuple[float, str]
"""Where in the order of messages one is: when it was received, and its id."""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages are meant; what is empty does not restrict."""

    address: str = ""
    """Of a recipient, the sender, or MAIL FROM (that one as it was written, or in lower case)."""
    message_id: str = ""
    """Message-ID, without its angle brackets."""
    account: str = ""
    sender: str = ""
    since: float = 0.0
    before: float = 0.0
    """Unix seconds."""
    action: str = ""
    """What the verdict says: relay | defer | hold | quarantine | reject."""
    subject: str = ""
    """A part of the subject; upper and lower case of ASCII letters are the same."""
    after: Place = NEWEST
    """Only what comes behind this place, newest first."""
    limit: int = 50


class Found(msgspec.Struct, frozen=True):
    """A page of messages, newest first."""

    rows: tuple[Row, ...]
    """Columns of the table `decision`, `recipients` as a list; and `held`: the state in which it is or was held."""
    more: Place | None
    """Where to go on; None if that was all."""
    looked_back_to: float
    """0; or the search ended before its page was full, and has looked at everything since then (unix seconds)."""


def search(ledger: Ledger, wanted: Search) -> Found:
    """Messages, newest first."""
    residual = _residual(wanted)
    with ledger.connection() as connection:
        if wanted.address and not wanted.message_id:
            places, edge = _fitting(connection, _by_address(connection, wanted, residual), residual, wanted.limit)
        elif residual:
            places, edge = _looked_through(connection, wanted, residual)
        else:
            plain = select(decision.c.received, decision.c.id).where(*_indexed(wanted))
            places, edge = _places(connection, plain, wanted, wanted.limit + 1), None
        more = places[wanted.limit - 1] if len(places) > wanted.limit else edge
        rows = _rows(connection, [id_ for _, id_ in places[: wanted.limit]])
    return Found(rows, more, more[0] if more and len(places) <= wanted.limit else 0.0)


def by_id(ledger: Ledger, id_: str) -> Row | None:
    """One message, with the columns of `Found.rows`."""
    query = select(*_SHOWN).outerjoin(held, held.c.id == decision.c.id).where(decision.c.id == id_)
    with ledger.connection() as connection:
        row = connection.execute(query).mappings().first()
    return _shown(row) if row else None


def again(ledger: Ledger, row: Row, limit: int = 10) -> list[Row]:
    """Other times the same message (by its Message-ID and sender) was submitted, oldest first."""
    if not row["message_id"]:
        return []
    query = select(decision.c.id, decision.c.received, decision.c.action, decision.c.answered)
    query = query.where(decision.c.message_id == row["message_id"], decision.c.sender == row["sender"])
    query = query.where(decision.c.id != row["id"]).order_by(decision.c.received, decision.c.id).limit(limit)
    with ledger.connection() as connection:
        return [dict(found) for found in connection.execute(query).mappings()]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of one message besides its decision; rows oldest first."""

    held: Row | None
    changes: tuple[Row, ...]
    """Of what was held."""
    deliveries: tuple[Row, ...]
    reports: tuple[Row, ...]
    """Deliveries of reports (bounces) about it."""
    audit: tuple[Row, ...]
    lessons: tuple[Row, ...]
    """What its release or deletion taught."""
    feedback: tuple[Row, ...]
    """What the world answered later: complaints, late bounces, lines of next hops' logs."""
    bulk: tuple[Row, ...]
    """Decisions about many that meant it too: id, time, by, act, reason, number, state, and what came of it here."""


def history(ledger: Ledger, id_: str, most: int = 5_000) -> History:
    """What happened to a message, at most `most` rows of each kind."""

    def rows(query: Select[Any]) -> tuple[Row, ...]:
        return tuple(dict(row) for row in connection.execute(query.limit(most)).mappings())

    about = and_(delivery.c.about == id_, delivery.c.about != literal_column("''"))
    later = and_(feedback.c.message == id_, feedback.c.message != literal_column("''"))
    lessons = select(weight_history).where(weight_history.c.message == id_)
    of = bulk_action.c
    here = bulk_item.c.state.label("here"), bulk_item.c.detail.label("detail")
    many = select(of.id, of.time, of.by, of.act, of.reason, of.number, of.state, *here)
    many = many.join(bulk_item, bulk_item.c.bulk == of.id)
    with ledger.connection() as connection:
        row = connection.execute(select(held).where(held.c.id == id_)).mappings().first()
        return History(
            held=dict(row) if row else None,
            changes=rows(select(held_change).where(held_change.c.id == id_).order_by(held_change.c.serial)),
            deliveries=rows(select(delivery).where(delivery.c.id == id_).order_by(delivery.c.serial)),
            reports=rows(select(delivery).where(about).order_by(delivery.c.serial)),
            audit=rows(select(audit).where(audit.c.subject == id_).order_by(audit.c.time, audit.c.serial)),
            lessons=rows(lessons.order_by(weight_history.c.time, weight_history.c.serial)),
            feedback=rows(select(feedback).where(later).order_by(feedback.c.time, feedback.c.serial)),
            bulk=rows(many.where(bulk_item.c.id == id_).order_by(bulk_action.c.time)),
        )


def _rows(connection: Connection, ids: Sequence[str]) -> tuple[Row, ...]:
    query = select(*_SHOWN).outerjoin(held, held.c.id == decision.c.id).where(decision.c.id.in_(ids))
    query = query.order_by(decision.c.received.desc(), decision.c.id.desc())
    return tuple(_shown(row) for row in connection.execute(query).mappings())


def _looked_through(
    connection: Connection, wanted: Search, residual: Sequence[ColumnElement[bool]]
) -> tuple[list[Place], Place | None]:
    """The places of a page of those that fit, among `SCAN` of the index; and where the looking ended, if it did."""
    order = (decision.c.received.desc(), decision.c.id.desc())
    leading = select(decision.c.received, decision.c.id).where(*_indexed(wanted), *_between(wanted)).order_by(*order)
    looked = leading.add_columns(and_(*residual).label("fits")).limit(SCAN).subquery()
    fitting = select(looked.c.received, looked.c.id).where(looked.c.fits)
    fitting = fitting.order_by(looked.c.received.desc(), looked.c.id.desc()).limit(wanted.limit + 1)
    places = [(received, id_) for received, id_ in connection.execute(fitting)]
    if len(places) > wanted.limit:
        return places, None
    end = connection.execute(leading.offset(SCAN - 1).limit(1)).first()
    return places, (end[0], end[1]) if end else None


def _fitting(
    connection: Connection, found: list[Place], residual: Sequence[ColumnElement[bool]], limit: int
) -> tuple[list[Place], Place | None]:
    """The same, of places that were found already."""
    if not residual:
        return found, None
    places: list[Place] = []
    # In portions, so that what is found soon is not looked for among everything.
    for portion in portions(found):
        query = select(decision.c.id).where(decision.c.id.in_([id_ for _, id_ in portion]), *residual)
        fits = set(connection.execute(query).scalars())
        places += [place for place in portion if place[1] in fits]
        if len(places) > limit:
            return places, None
    return places, found[-1] if len(found) == SCAN else None


def _by_address(connection: Connection, wanted: Search, residual: Sequence[ColumnElement[bool]]) -> list[Place]:
    """The places of at most `SCAN` messages from or to an address, newest first; of a page if that is enough."""
    most = SCAN if residual else wanted.limit + 1
    address, lower = wanted.address, wanted.address.lower()
    plain = select(decision.c.received, decision.c.id)
    ways = [
        plain.where(decision.c.sender == lower),
        # The second condition word for word as in the index `decision_mail_from`.
        plain.where(decision.c.mail_from.in_(sorted({address, lower})), literal_column("mail_from <> sender")),
    ]
    found = [place for way in ways for place in _places(connection, way, wanted, most)]
    found += _to(connection, lower, wanted, most)
    return sorted(set(found), reverse=True)[:most]


def _to(connection: Connection, address: str, wanted: Search, most: int) -> list[Place]:
    """The same by recipient: in the order of ids, which is that of time."""
    query = select(decision.c.received, decision.c.id).join(recipient, recipient.c.decision == decision.c.id)
    query = query.where(recipient.c.address == address)
    before = min(wanted.after[0], wanted.before or float("inf"))
    if before != float("inf"):
        query = query.where(recipient.c.decision <= last_id(before))
    if wanted.since:
        query = query.where(recipient.c.decision >= first_id(wanted.since))
    query = query.where(*_between(wanted)).order_by(recipient.c.decision.desc()).limit(most)
    return [(received, id_) for received, id_ in connection.execute(query)]


def _places(connection: Connection, query: Select[Any], wanted: Search, most: int) -> list[Place]:
    query = query.where(*_between(wanted)).order_by(decision.c.received.desc(), decision.c.id.desc()).limit(most)
    return [(received, id_) for received, id_ in connection.execute(query)]


def _indexed(wanted: Search) -> Sequence[ColumnElement[bool]]:
    if wanted.message_id:
        return (decision.c.message_id == wanted.message_id,)
    if wanted.sender:
        return (decision.c.sender == wanted.sender,)
    return (decision.c.account == wanted.account,) if wanted.account else ()


def _between(wanted: Search) -> Sequence[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.since:
        where.append(decision.c.received >= wanted.since)
    if wanted.before:
        where.append(decision.c.received < wanted.before)
    if wanted.after != NEWEST:
        # The first condition is for the index, the second for what came in at the same moment.
        where.append(decision.c.received <= wanted.after[0])
        where.append(tuple_(decision.c.received, decision.c.id) < tuple_(*wanted.after))
    return where


def _residual(wanted: Search) -> Sequence[ColumnElement[bool]]:
    """What the leading index does not know."""
    where: list[ColumnElement[bool]] = []
    address = wanted.address.lower()
    if address and wanted.message_id:
        to = select(recipient.c.decision).where(recipient.c.decision == decision.c.id, recipient.c.address == address)
        own = (decision.c.sender == address, decision.c.mail_from.in_(sorted({wanted.address, address})))
        where.append(or_(to.exists(), *own))
    leads = bool(wanted.message_id or wanted.address)
    if wanted.sender and leads:
        where.append(decision.c.sender == wanted.sender)
    if wanted.account and (leads or wanted.sender):
        where.append(decision.c.account == wanted.account)
    if wanted.action:
        where.append(decision.c.action == wanted.action)
    if wanted.subject:
        where.append(decision.c.subject.icontains(wanted.subject, autoescape=True))
    return where


def _shown(row: Any) -> Row:
    # SQLAlchemy's names are of a type of its own, which not everything takes for texts.
    return {str(name): value for name, value in row.items()} | {"recipients": [*_strings.decode(row["recipients"])]}
