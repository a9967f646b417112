"""Questions about feedback: which message is meant, what is known already, what was found, who is suppressed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, func, select

from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.feedback_storing import PROGRESS, known_keys
from outbound_guard.ledger.tables import case_progress, decision, delivery, feedback, recipient, suppression
from outbound_guard.mail import first_id, same_address

_MOST = 50
"""Messages that one question about a message may find."""
_strings: msgspec.json.Decoder[tuple[str, ...]] = msgspec.json.Decoder(tuple[str, ...])

Row = dict[str, Any]


class Message(msgspec.Struct, frozen=True):
    """A message of ours, as far as feedback needs it."""

    id: str
    received: float
    account: str
    sender: str
    sender_kind: str
    recipients: tuple[str, ...]
    text: str
    """The fingerprint of its text."""
    mode: str


def by_ids(ledger: Ledger, ids: Sequence[str]) -> list[Message]:
    """The messages with these ids."""
    return _messages(ledger, _query().where(decision.c.id.in_(list(ids)[:_MOST])))


def by_message_id(ledger: Ledger, message_id: str, since: float) -> list[Message]:
    """The messages with this Message-ID (without brackets) received since then (unix seconds), newest first."""
    return _messages(ledger, _query().where(decision.c.message_id == message_id, decision.c.received >= since))


def by_recipient(ledger: Ledger, address: str, since: float) -> list[Message]:
    """The newest messages to an address, received since then (unix seconds)."""
    query = _query().join(recipient, recipient.c.decision == decision.c.id)
    query = query.where(recipient.c.address == address.lower(), recipient.c.decision >= first_id(since))
    return _messages(ledger, query)


def known(ledger: Ledger, keys: Sequence[str]) -> set[str]:
    """Those of the findings' keys that the ledger has."""
    with ledger.connection() as connection:
        return known_keys(connection, list(keys))


def after(ledger: Ledger, serial: int, limit: int) -> list[Row]:
    """Findings that were stored behind `serial`, oldest first; `class` is a column like the others."""
    query = select(feedback).where(feedback.c.serial > serial).order_by(feedback.c.serial).limit(limit)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def progress(ledger: Ledger) -> int:
    """Up to which finding has been learned from; 0 at first."""
    query = select(case_progress.c.serial).where(case_progress.c.name == PROGRESS)
    with ledger.connection() as connection:
        return int(connection.execute(query).scalar() or 0)


def complained_messages(ledger: Ledger, text: str, sender: str) -> int:
    """Messages of a sender with this text that somebody has complained about."""
    query = select(func.count(func.distinct(feedback.c.message))).where(
        feedback.c.text == text,
        feedback.c.text != "",
        feedback.c.kind == "complaint",
        feedback.c.sender == sender,
        feedback.c.counts,
        feedback.c.outcome == "complaint",
    )
    with ledger.connection() as connection:
        return int(connection.execute(query).scalar() or 0)


def complaints(ledger: Ledger, since: float, until: float) -> list[tuple[str, int]]:
    """How many proven complaints each account got from `since` to `until` (unix seconds)."""
    query = select(feedback.c.account, func.count()).where(feedback.c.time >= since, feedback.c.time <= until)
    query = query.where(feedback.c.kind == "complaint", feedback.c.counts, feedback.c.outcome == "complaint")
    with ledger.connection() as connection:
        return [(account, number) for account, number in connection.execute(query.group_by(feedback.c.account))]


def findings(
    ledger: Ledger,
    *,
    account: str = "",
    kind: str = "",
    message: str = "",
    unattributed: bool = False,
    below: int = 0,
    limit: int = 100,
) -> list[Row]:
    """What was found, the last that was stored first; `unattributed`: what is about no message that is known.

    `below`: those behind the one with this `serial`, to go on with a list.
    """
    query = select(feedback).order_by(feedback.c.serial.desc()).limit(limit)
    for column, value in ((feedback.c.account, account), (feedback.c.kind, kind), (feedback.c.message, message)):
        if value:
            query = query.where(column == value)
    if unattributed:
        query = query.where(feedback.c.message == "")
    if below:
        query = query.where(feedback.c.serial < below)
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def numbers(ledger: Ledger, since: float) -> dict[str, int]:
    """What was found since then (unix seconds): complaints, bounces and the like that count, and what does not."""
    attributed = feedback.c.message != ""
    query = select(feedback.c.kind, feedback.c.counts, attributed, func.count()).where(feedback.c.time >= since)
    query = query.group_by(feedback.c.kind, feedback.c.counts, attributed)
    found = {"complaints": 0, "bounces": 0, "unproven": 0, "unattributed": 0}
    with ledger.connection() as connection:
        for kind, counts, known, number in connection.execute(query):
            if not known:
                found["unattributed"] += number
            elif not counts:
                found["unproven"] += number
            else:
                found["complaints" if kind == "complaint" else "bounces"] += number
    return found


def suppressed(ledger: Ledger, *, account: str = "", address: str = "", first: int = 0, limit: int = 1000) -> list[Row]:
    """Who is on suppression lists, by account and address; the first `first` are passed over."""
    query = select(suppression).where(suppression.c.change == "added")
    query = query.order_by(suppression.c.account, suppression.c.address).offset(first).limit(limit)
    if account:
        query = query.where(suppression.c.account == account)
    if address:
        query = query.where(suppression.c.address == same_address(address))
    with ledger.connection() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def suppression_start(ledger: Ledger, most: int) -> int:
    """The revision behind which lie the `most` last changes of suppression lists; 0: all of them."""
    query = select(suppression.c.revision).order_by(suppression.c.revision.desc()).offset(most).limit(1)
    with ledger.connection() as connection:
        return int(connection.execute(query).scalar() or 0)


def suppression_changes(ledger: Ledger, revision: int, limit: int) -> list[tuple[str, str, str, int]]:
    """What has changed in suppression lists behind a revision: account, address, why (empty: taken off), revision."""
    columns = suppression.c
    query = select(columns.account, columns.address, columns.why, columns.change, columns.revision)
    query = query.where(columns.revision > revision).order_by(columns.revision).limit(limit)
    with ledger.connection() as connection:
        rows = connection.execute(query)
        return [(to, at, why if change == "added" else "", number) for to, at, why, change, number in rows]


def answers_since(ledger: Ledger, received: float, limit: int) -> list[tuple[float, str, str]]:
    """What next hops answered at once to messages received since then: time, id, reply; oldest first."""
    query = select(decision.c.received, decision.c.id, decision.c.answered).where(decision.c.received >= received)
    query = query.where(decision.c.answered.startswith("2")).order_by(decision.c.received, decision.c.id).limit(limit)
    with ledger.connection() as connection:
        return [(time, id_, answered) for time, id_, answered in connection.execute(query)]


def newest_answers(ledger: Ledger, since: float, limit: int) -> list[tuple[float, str, str]]:
    """The newest of what `answers_since` gives, oldest first."""
    query = select(decision.c.received, decision.c.id, decision.c.answered).where(decision.c.received >= since)
    query = query.where(decision.c.answered.startswith("2")).order_by(decision.c.received.desc()).limit(limit)
    with ledger.connection() as connection:
        return [(time, id_, answered) for time, id_, answered in connection.execute(query)][::-1]


def newest_delivery(ledger: Ledger) -> int:
    """The number of the newest delivery; 0 if there is none."""
    with ledger.connection() as connection:
        return int(connection.execute(select(func.max(delivery.c.serial))).scalar() or 0)


def deliveries_after(ledger: Ledger, serial: int, limit: int) -> list[tuple[int, str, str]]:
    """What next hops answered later, behind `serial`: serial, id, text of replies that took a message."""
    query = select(delivery.c.serial, delivery.c.id, delivery.c.text).where(delivery.c.serial > serial)
    query = query.where(delivery.c.code < 300, delivery.c.id != "").order_by(delivery.c.serial).limit(limit)
    with ledger.connection() as connection:
        return [(number, id_, text) for number, id_, text in connection.execute(query)]


def _query() -> Select[Any]:
    columns = decision.c
    return (
        select(
            columns.id,
            columns.received,
            columns.account,
            columns.sender,
            columns.sender_kind,
            columns.recipients,
            columns.text,
            columns.mode,
        )
        .order_by(columns.id.desc())
        .limit(_MOST)
    )


def _messages(ledger: Ledger, query: Select[Any]) -> list[Message]:
    with ledger.connection() as connection:
        return [
            Message(id_, received, account, sender, kind, _strings.decode(to), text, mode)
            for id_, received, account, sender, kind, to, text, mode in connection.execute(query)
        ]
