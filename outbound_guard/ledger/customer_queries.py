"""Questions to the ledger about customers' links, their answers, and what they may see. Sync; all raise LedgerError."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import and_, func, or_, select

from outbound_guard.ledger.customer_tables import customer_answer, customer_link, customer_release
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_queries import HeldRow, row_of
from outbound_guard.ledger.portions import portions
from outbound_guard.ledger.tables import decision, feedback, held, standing_history
from outbound_guard.mail import Signal

_signals: msgspec.json.Decoder[tuple[Signal, ...]] = msgspec.json.Decoder(tuple[Signal, ...])


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link to the customers' page, as the desk sees it. Times are unix seconds; 0: never."""

    id: str
    account: str
    time: float
    by: str
    expires: float
    revoked: float
    opened: int
    last_opened: float
    contact: str = ""
    """A hash of the address that it was made for."""

    def state(self, now: float) -> str:
        """good | expired | revoked"""
        return "revoked" if self.revoked else "expired" if self.expires <= now else "good"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer has said about one sender."""

    link: str
    sender: str
    account: str
    time: float
    answer: str
    """me | not_me | undone"""
    messages: int
    bulk: str
    offended: float
    offence: str


class HeldFor(msgspec.Struct, frozen=True):
    """A held message with what spoke for and against it."""

    row: HeldRow
    signals: tuple[Signal, ...]
    code: str
    """The word of the verdict."""


def link_one(ledger: Ledger, id_: str) -> tuple[Link, str] | None:
    """A link and its hash; None if there is none."""
    with ledger.connection() as connection:
        query = select(customer_link).where(customer_link.c.id == id_, customer_link.c.hash != "")
        row = connection.execute(query).mappings().first()
    return (_link(row), row["hash"]) if row else None


def links(ledger: Ledger, account: str, *, limit: int = 20) -> list[Link]:
    """The links of an account, newest first."""
    table = customer_link
    query = select(table).where(table.c.account == account, table.c.hash != "").order_by(table.c.time.desc())
    with ledger.connection() as connection:
        return [_link(row) for row in connection.execute(query.limit(limit)).mappings()]


def answers(ledger: Ledger, account: str, *, link: str = "", limit: int = 50) -> list[Answer]:
    """What was answered of an account, newest first; by one link or by all."""
    table = customer_answer
    query = select(table).where(table.c.account == account).order_by(table.c.time.desc()).limit(limit)
    if link:
        query = query.where(table.c.link == link)
    with ledger.connection() as connection:
        return [Answer(**row) for row in connection.execute(query).mappings()]


def released_since(ledger: Ledger, account: str, since: float) -> int:
    """Messages that the customers of an account have let go since then (unix seconds), undone ones left out."""
    table = customer_answer
    query = select(func.coalesce(func.sum(table.c.messages), 0))
    with ledger.connection() as connection:
        return int(connection.execute(query.where(table.c.account == account, table.c.time > since)).scalar_one())


def closed(ledger: Ledger, account: str) -> str:
    """Why an account's customers may not release mail themselves; empty: they may."""
    table = customer_release
    query = select(table.c.reason).where(table.c.account == account, table.c.change == "closed")
    with ledger.connection() as connection:
        found = connection.execute(query).scalar()
    return "" if found is None else found or "a sender offended after its mail was released"


def held_for(ledger: Ledger, account: str, *, most: int) -> list[HeldFor]:
    """What of an account is held or in quarantine now, newest first, with its signals."""
    query = (
        select(
            held,
            func.coalesce(decision.c.signals, "[]").label("said"),
            func.coalesce(decision.c.code, "").label("word"),
        )
        .select_from(held.outerjoin(decision, decision.c.id == held.c.id))
        .where(held.c.open == True, held.c.account == account)  # noqa: E712 - this is SQL.
        .order_by(held.c.received.desc())
        .limit(most)
    )
    with ledger.connection() as connection:
        rows = connection.execute(query).mappings()
        return [HeldFor(row_of(row), _signals.decode(row["said"]), row["word"]) for row in rows]


def judged_texts(ledger: Ledger, account: str, texts: Collection[str]) -> set[str]:
    """Those of the texts that are in quarantine, that a person has deleted, or that wait from other accounts too."""
    found: set[str] = set()
    wanted = [text for text in dict.fromkeys(texts) if text]
    with ledger.connection() as connection:
        for portion in portions(wanted):
            some = held.c.text.in_(portion)
            bad = or_(held.c.state.in_(("quarantine", "deleted")), and_(held.c.open, held.c.account != account))
            found |= set(connection.execute(select(held.c.text).where(some, bad).distinct()).scalars())
    return found


def releases(ledger: Ledger, since: float) -> list[Answer]:
    """Releases by customers since then (unix seconds) after which no offence is known, the newest first."""
    table = customer_answer
    which = (table.c.answer == "me", table.c.messages > 0, table.c.offended == 0, table.c.time > since)
    with ledger.connection() as connection:
        query = select(table).where(*which).order_by(table.c.time.desc()).limit(1000)
        return [Answer(**row) for row in connection.execute(query).mappings()]


def offence_of(ledger: Ledger, sender: str, account: str, since: float, before: float) -> tuple[float, str] | None:
    """The first offence of a sender in this time (unix seconds) and what it was; None if there was none.

    An offence is a suspension, mail that went into quarantine or was refused for what it is, or a complaint that is
    proven. What a customer says of their own mailbox is none.
    """
    changes, came = standing_history.c, feedback.c
    suspended = select(func.min(changes.time)).where(
        or_(changes.subject == sender, and_(changes.scope == "account", changes.subject == account)),
        changes.change == "suspended",
        changes.by.not_like("customer:%"),
        changes.time > since,
        changes.time <= before,
    )
    judged = select(func.min(decision.c.received)).where(
        decision.c.sender == sender,
        decision.c.account == account,
        decision.c.action.in_(("quarantine", "reject")),
        decision.c.received > since,
        decision.c.received <= before,
    )
    complained = select(func.min(came.time)).where(
        came.sender == sender, came.account == account, came.kind == "complaint", came.counts, came.time > since
    )
    complained = complained.where(came.time <= before)
    whats = (("suspended", suspended), ("mail refused or in quarantine", judged), ("a complaint", complained))
    with ledger.connection() as connection:
        times = [(connection.execute(query).scalar(), what) for what, query in whats]
    found = [(time, what) for time, what in times if time is not None]
    return min(found) if found else None


def _link(row: object) -> Link:
    return Link(**{name: row[name] for name in Link.__struct_fields__})  # type: ignore[index]
