"""Accounts to look at: the list of them, paged, searched and sorted, and one of them in short."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Thresholds
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger import account_queries, directory_queries, queries
from outbound_guard.ledger.account_queries import AccountFilters, AccountRow
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.queries import Filters
from outbound_guard.ledger.records import Standing
from outbound_guard.reputation import Reputation
from outbound_guard.reputation.classes import Circumstances
from outbound_guard.reputation.portrait import class_of_account, portraits
from outbound_guard.state import StateDown

DAY = 86400.0
SENDERS = 20
"""Senders of each account whose records the list looks at for its class."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the list of accounts."""

    items: tuple[AccountRow, ...]
    total: int
    """Accounts in all of the list."""
    offset: int
    classes: dict[str, str] = {}
    """By account, as far as the memory could be asked: a word of reputation.classes.CLASSES."""


async def account_page(
    ledger: Ledger,
    clock: Clock,
    filters: AccountFilters,
    memory: Reputation | None = None,
    thresholds: Thresholds | None = None,
) -> Page:
    """A page of the list of accounts; with `memory` and the policy's `thresholds` also their classes.

    Raises DeskError for filters that mean nothing, LedgerError.
    """
    if filters.state and filters.state not in account_queries.STATES:
        raise DeskError(f"{filters.state!r} is none of {', '.join(account_queries.STATES)}")
    if filters.sort not in account_queries.SORTS:
        raise DeskError(f"{filters.sort!r} is none of {', '.join(account_queries.SORTS)}")
    now = clock.now()
    rows, total = await asyncio.to_thread(account_queries.account_page, ledger, filters, now)
    classes = await _classes(ledger, memory, rows, now, thresholds or Thresholds()) if memory and rows else {}
    return Page(items=tuple(rows), total=total, offset=filters.offset, classes=classes)


async def account_list(ledger: Ledger, clock: Clock, filters: AccountFilters | None = None) -> list[dict[str, Any]]:
    """The accounts that are known, all of them unless `filters` say less.

    Each with `account, name, contact, suspended, senders_suspended, held, day` (messages of 24 hours by action) and
    what else AccountRow has. Raises DeskError, LedgerError.
    """
    page = await account_page(ledger, clock, filters or AccountFilters(limit=0))
    return [msgspec.structs.asdict(row) for row in page.items]


async def account_show(ledger: Ledger, clock: Clock, account: str) -> dict[str, Any]:
    """What is known about an account: its entry, senders, standings, history, counts of a day, newest decisions.

    Raises DeskError if nothing is known, LedgerError.
    """
    return await asyncio.to_thread(_show, ledger, clock.now(), account)


async def _classes(
    ledger: Ledger, memory: Reputation, rows: list[AccountRow], now: float, thresholds: Thresholds
) -> dict[str, str]:
    accounts = [row.account for row in rows]
    senders = await asyncio.to_thread(account_queries.some_senders, ledger, accounts, SENDERS)
    whom = [(account, "") for account in accounts] + senders
    try:
        found = dict(zip(whom, await portraits(memory, whom), strict=True))
    except StateDown:
        return {}
    classes = {}
    for row in rows:
        now_is = Circumstances(
            suspended="by the desk" if row.suspended else "", probation=row.probation, watch=thresholds.watch
        )
        inside = [found[pair] for pair in senders if pair[0] == row.account]
        classes[row.account] = class_of_account(found[row.account, ""], inside, now, memory.half_life, now_is).name
    return classes


def _show(ledger: Ledger, now: float, account: str) -> dict[str, Any]:
    entry = directory_queries.accounts(ledger, account).get(account)
    standings = directory_queries.standings(ledger, account)
    newest = queries.decisions(ledger, Filters(account=account, limit=20))
    if entry is None and not standings and not newest:
        raise DeskError(f"no account {account}")
    return {
        "account": account,
        "name": entry["name"] if entry else "",
        "contact": entry["contact"] if entry else "",
        "note": entry["note"] if entry else "",
        "senders": directory_queries.senders_of(ledger, account),
        "standings": [_plain(standing) for standing in standings],
        "history": [_plain(standing) for standing in directory_queries.history(ledger, account)],
        "held": directory_queries.held_counts(ledger, account).get(account, 0),
        "day": queries.counts(ledger, now - DAY, account).get(account, {}),
        "decisions": newest,
    }


def _plain(standing: Standing) -> dict[str, Any]:
    return {name: getattr(standing, name) for name in standing.__struct_fields__}
