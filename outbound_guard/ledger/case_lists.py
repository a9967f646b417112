"""Questions to the ledger about many cases at once: lists with filters, and what figures are made of.

Sync: called in threads or on the command line. All raise LedgerError.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, or_, select

from outbound_guard.ledger.case_queries import Case, whole
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.tables import case_file, case_subject


class CaseFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which cases are meant; empty: all."""

    state: str = ""
    """open | closed"""
    stage: str = ""
    owner: str = ""
    """`nobody`: those without one."""
    pool: str = ""
    overdue_at: float = 0.0
    """Only open ones that were due before then (unix seconds)."""
    text: str = ""
    """A part of the id, of the title, or of an address, domain, list or receiver that it is about."""


def found(ledger: Ledger, filters: CaseFilters, *, by_due: bool = False, limit: int = 0, offset: int = 0) -> list[Case]:
    """A page of the cases that fit, newest first, or (`by_due`) those first that were due first. `limit` 0: all."""
    newest = (case_file.c.opened.desc(), case_file.c.id.desc())
    order = (case_file.c.state.desc(), case_file.c.due, *newest) if by_due else newest
    query = select(case_file).where(*_fitting(filters)).order_by(*order).offset(offset)
    with ledger.connection() as connection:
        return whole(connection, connection.execute(query.limit(limit) if limit else query).mappings().all())


def number_found(ledger: Ledger, filters: CaseFilters) -> int:
    """How many cases fit."""
    with ledger.connection() as connection:
        return connection.execute(select(func.count()).select_from(case_file).where(*_fitting(filters))).scalar() or 0


def owners(ledger: Ledger) -> list[str]:
    """Who owns open cases."""
    query = select(case_file.c.owner).distinct().where(case_file.c.state == "open", case_file.c.owner != "")
    with ledger.connection() as connection:
        return list(connection.execute(query.order_by(case_file.c.owner)).scalars())


def _fitting(filters: CaseFilters) -> list[ColumnElement[bool]]:
    c = case_file.c
    where = [c[name] == value for name in ("state", "stage", "pool") if (value := getattr(filters, name))]
    if filters.owner:
        where.append(c.owner.in_(("", "nobody")) if filters.owner == "nobody" else c.owner == filters.owner)
    if filters.overdue_at:
        where += [c.state == "open", c.due > 0, c.due < filters.overdue_at]
    if text := filters.text.strip().lower():
        about = select(case_subject.c.case_id).where(
            or_(
                func.lower(case_subject.c.subject).contains(text, autoescape=True),
                func.lower(case_subject.c.source).contains(text, autoescape=True),
            )
        )
        named = (func.lower(column).contains(text, autoescape=True) for column in (c.id, c.title))
        where.append(or_(*named, c.id.in_(about)))
    return where


def times(ledger: Ledger, since: float) -> list[dict[str, Any]]:
    """The cases opened since then, each with the columns of its file alone: its times, cause and operator.

    Those that were merged into another one are left out.
    """
    with ledger.connection() as connection:
        query = select(case_file).where(case_file.c.opened >= since, case_file.c.kind != "merged")
        return [dict(row) for row in connection.execute(query).mappings()]


def listings_by_cause(ledger: Ledger, since: float) -> list[tuple[str, str, int]]:
    """Listings and refusals of the cases opened since then, by pool and cause."""
    c = case_file.c
    query = select(c.pool, c.cause, func.count()).select_from(
        case_file.join(case_subject, c.id == case_subject.c.case_id)
    )
    with ledger.connection() as connection:
        found = connection.execute(query.where(c.opened >= since, c.kind != "merged").group_by(c.pool, c.cause))
        return [(pool, cause, number) for pool, cause, number in found]
