"""What the ledger forgets, and when: docs/privacy.md says it in prose."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, or_, select, tuple_, update

from outbound_guard.config.settings import Retention
from outbound_guard.ledger import tables
from outbound_guard.ledger.database import Ledger

PORTION = 2000
"""Rows deleted in one transaction, so that new records need not wait long."""
OPEN = ("held", "quarantine")
DAY = 86400.0
SEGMENT_DAYS = 90
"""So long the names of segments are kept whose host says nothing of them."""


def forget(ledger: Ledger, now: float, keep_days: int, keep: Retention) -> None:
    """Remove what is older than it is kept; `now` in unix seconds, `keep_days` is for decisions. Raises LedgerError.

    Stays: what is held, with its decisions; standings in force.
    """

    def before(days: int) -> float:
        """The time before which all of a kind goes; 0 days: none of it."""
        return now - days * DAY if days else float("-inf")

    decision, held = tables.decision, tables.held
    decided = before(keep_days)
    still_held = select(held.c.id).where(held.c.state.in_(OPEN))
    _delete(ledger, decision, and_(decision.c.received < decided, decision.c.id.not_in(still_held)))
    # A decision without what came of it would tell half a story.
    _delete_oldest(ledger, tables.delivery, min(decided, before(keep.deliveries)))
    _delete_oldest(ledger, tables.feedback, min(decided, before(keep.deliveries)))
    closed = min(decided, before(keep.held))
    _delete(ledger, held, and_(held.c.changed < closed, held.c.state.not_in(OPEN)))
    _delete_oldest(ledger, tables.held_change, closed)
    _forget_bulk(ledger, closed)
    if keep.audit:
        _delete(ledger, tables.audit, tables.audit.c.time < before(keep.audit))
    if keep.standings:
        _delete_oldest(ledger, tables.standing_history, before(keep.standings))
        _delete_oldest(ledger, tables.class_change, before(keep.standings))
    if keep.listings:
        _delete_oldest(ledger, tables.listing_history, before(keep.listings))
    if keep.traffic:
        _delete(ledger, tables.traffic, tables.traffic.c.hour < int(before(keep.traffic) // 3600))
    if keep.notices:
        _forget_notices(ledger, before(keep.notices))
    if keep.cases:
        _forget_cases(ledger, before(keep.cases))
    _delete(ledger, tables.customer_link, tables.customer_link.c.expires < decided)
    _delete(ledger, tables.customer_answer, tables.customer_answer.c.time < decided)
    ordered = select(tables.erasure.c.id).where(tables.erasure.c.state != "done")
    _delete(ledger, tables.erasure_node, tables.erasure_node.c.erasure.not_in(ordered))
    _forget_customer_releases(ledger, decided)
    _forget_standings(ledger, decided)
    _forget_seen(ledger, decided)


def _forget_bulk(ledger: Ledger, before: float) -> None:
    """Decisions about many that were carried out, or undone, before then."""
    many = tables.bulk_action.c
    over = and_(many.state.in_(("done", "undone", "refused", "expired")), many.changed < before)
    _delete(ledger, tables.bulk_item, tables.bulk_item.c.bulk.in_(select(many.id).where(over)))
    _delete(ledger, tables.bulk_action, over)


def _forget_notices(ledger: Ledger, before: float) -> None:
    """What was told, or given up; what still waits stays."""
    notice, sending = tables.outbox.c, tables.outbox_sending.c
    waits = select(sending.serial).where(sending.notice == notice.serial, sending.state == "waiting")
    _delete(ledger, tables.outbox, and_(notice.time < before, notice.routed, ~waits.exists()))
    there = select(notice.serial).where(notice.serial == sending.notice)
    _delete(ledger, tables.outbox_sending, and_(sending.created < before, ~there.exists()))


def _forget_seen(ledger: Ledger, before: float) -> None:
    """Accounts and senders that have sent nothing since, unless they were entered or decided about, or wait."""
    seen, standing = tables.account_seen.c, tables.standing.c
    _delete(ledger, tables.sender_seen, tables.sender_seen.c.last < before)
    # A class that has not changed for long is that of somebody who still sends.
    table = tables.sender_class.c
    here = select(tables.sender_seen.c.sender).where(
        tables.sender_seen.c.sender == table.sender, tables.sender_seen.c.account == table.account
    )
    _delete(ledger, tables.sender_class, and_(table.time < before, ~here.exists()))
    entered = select(tables.account.c.account)
    decided = select(standing.subject).where(standing.scope == "account").union(select(standing.account))
    waiting = select(tables.held.c.account).where(tables.held.c.open)
    kept = (entered, decided, waiting)
    idle = and_(seen.last < before, *(seen.account.not_in(accounts) for accounts in kept))
    _delete(ledger, tables.account_seen, idle)


def forget_segments(ledger: Ledger, now: float, node: str, waiting: set[str]) -> None:
    """Remove the names of a host's segments that cannot come again. Raises LedgerError.

    `waiting` are those still on its disk: their names must be kept. What hosts leave that are no more goes with time.
    """
    segment = tables.segment
    with ledger.connection() as connection:
        own = or_(segment.c.node.in_((node, "")), segment.c.taken < now - SEGMENT_DAYS * DAY)
        names = set(connection.execute(select(segment.c.name).where(own)).scalars()) - waiting
        if names:
            connection.execute(
                delete(segment).where(segment.c.name == bindparam("gone")), [{"gone": name} for name in names]
            )


def _forget_standings(ledger: Ledger, before: float) -> None:
    """Standings that are over."""
    standing = tables.standing
    with ledger.connection() as connection:
        over = or_(
            and_(standing.c.change.in_(("resumed", "unlimited", "unpinned")), standing.c.time < before),
            and_(standing.c.until > 0, standing.c.until < before),
        )
        connection.execute(delete(standing).where(over))


def _forget_customer_releases(ledger: Ledger, before: float) -> None:
    """That customers may release again, and why they may not: that they may not stays until the desk lets them."""
    release = tables.customer_release
    _delete(ledger, release, and_(release.c.change == "opened", release.c.time < before))
    with ledger.connection() as connection:
        named = and_(release.c.time < before, release.c.reason != "")
        connection.execute(update(release).where(named).values(reason=""))


def _forget_cases(ledger: Ledger, before: float) -> None:
    """Cases that were closed before then, each with everything about it in one transaction."""
    case = tables.case_file.c
    over = select(case.id).where(case.state == "closed", case.closed < before).order_by(case.closed).limit(50)
    while True:
        with ledger.connection() as connection:
            ids = list(connection.execute(over).scalars())
            for table in (tables.case_event, tables.case_subject, tables.case_check):
                connection.execute(delete(table).where(table.c.case_id.in_(ids)))
            connection.execute(delete(tables.case_file).where(case.id.in_(ids)))
        if len(ids) < 50:
            return


def _delete(ledger: Ledger, table: Table, which: ColumnElement[bool]) -> None:
    key = tuple(table.primary_key.columns)
    whole = key[0] if len(key) == 1 else tuple_(*key)
    while True:
        with ledger.connection() as connection:
            portion = select(*key).where(which).limit(PORTION)
            if connection.execute(delete(table).where(whole.in_(portion))).rowcount < PORTION:
                return


def _delete_oldest(ledger: Ledger, table: Table, before: float) -> None:
    """Their numbers grow with time, so the oldest come first; an index by time would cost every message something."""
    while True:
        with ledger.connection() as connection:
            oldest = connection.execute(select(table.c.serial, table.c.time).order_by(table.c.serial).limit(PORTION))
            gone = [serial for serial, time in oldest if time < before]
            if gone:
                connection.execute(delete(table).where(table.c.serial <= max(gone), table.c.time < before))
            if len(gone) < PORTION:
                return
