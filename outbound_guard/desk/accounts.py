"""Accounts and senders: see them, suspend and restore them, limit or exempt them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.config import Limit
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import directory_queries, queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.queries import Filters
from outbound_guard.ledger.records import Audit, Standing

DAY = 86400.0

Forget = Callable[[str, str], Awaitable[object]]
"""Clears a sender's suspicion: called with sender and account. What it raises is the caller's own business."""


async def account_list(ledger: Ledger, clock: Clock) -> list[dict[str, Any]]:
    """Every account that is in the directory, has a standing, has held mail, or sent within a day; by name.

    Each with `account, name, contact, suspended, senders_suspended, held, day` (decisions of a day by action).
    Raises LedgerError.
    """
    return await asyncio.to_thread(_list, ledger, clock.now())


async def account_show(ledger: Ledger, clock: Clock, account: str) -> dict[str, Any]:
    """What is known about an account: its entry, senders, standings, history, counts of a day, newest decisions.

    Raises DeskError if nothing is known, LedgerError.
    """
    return await asyncio.to_thread(_show, ledger, clock.now(), account)


async def suspend(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    scope: str,
    subject: str,
    *,
    by: str,
    reason: str,
    until: float = 0.0,
) -> Standing:
    """Refuse all mail of a sender or account (`scope`), until `until` (unix seconds) or for good.

    Raises DeskError. A ledger that cannot be read does not hinder it.
    """
    return await _stand(ledger, journal, clock, scope, subject, "suspended", by=by, reason=reason, until=until)


async def resume(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    scope: str,
    subject: str,
    *,
    by: str,
    reason: str = "",
    forget: Forget | None = None,
) -> Standing:
    """Take a suspension back. `forget` clears the suspicion; called last. Raises DeskError, what it raises."""
    standing = await _stand(ledger, journal, clock, scope, subject, "resumed", by=by, reason=reason)
    if forget is not None:
        if scope == "sender":
            await forget(subject, standing.account or subject)
        else:
            # Its senders were stopped through it; each of them begins anew as well.
            since = clock.now() - 30 * DAY
            for sender in await asyncio.to_thread(queries.senders_seen, ledger, subject, since) or [""]:
                await forget(sender, subject)
    return standing


async def limit(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    scope: str,
    subject: str,
    limits: dict[str, int],
    *,
    by: str,
    reason: str = "",
) -> Standing:
    """Give a sender or account limits of its own (fields of config.Limit); empty: the inherited ones again.

    Raises DeskError.
    """
    for name, value in limits.items():
        if name not in Limit.__struct_fields__ or value < 0:
            raise DeskError(f"{name} = {value} is not a limit")
    limits = {name: value for name, value in limits.items() if value}
    change = "limited" if limits else "unlimited"
    return await _stand(ledger, journal, clock, scope, subject, change, by=by, reason=reason, limits=limits)


async def exempt(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    scope: str,
    subject: str,
    *,
    by: str,
    reason: str,
    until: float,
) -> Standing:
    """Neither hold nor refuse mail of a sender or account until `until` (unix seconds; now or earlier ends it)."""
    if not until or not reason:
        raise DeskError("an exemption needs a reason and an end")
    return await _stand(ledger, journal, clock, scope, subject, "exempted", by=by, reason=reason, until=until)


async def _stand(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    scope: str,
    subject: str,
    change: str,
    *,
    by: str,
    reason: str = "",
    until: float = 0.0,
    limits: dict[str, int] | None = None,
) -> Standing:
    if scope not in ("sender", "account") or not subject:
        raise DeskError(f"{scope} {subject!r} is neither a sender nor an account")
    account = subject
    if scope == "sender":
        account = await _account_of(ledger, subject)
    now = clock.now()
    standing = Standing(
        time=now,
        scope=scope,
        subject=subject,
        change=change,
        account=account,
        by=by,
        reason=reason,
        until=until,
        limits=limits or {},
    )
    detail = ", ".join([reason] * bool(reason) + [f"{name} {value}" for name, value in standing.limits.items()])
    on_disk(journal, standing, Audit(time=now, by=by, what=f"{scope}.{change}", subject=subject, detail=detail))
    return standing


async def _account_of(ledger: Ledger, sender: str) -> str:
    """The account of a sender by the mail that was seen; empty if unknown."""
    try:
        return await asyncio.to_thread(queries.seen, ledger, "sender", sender) or ""
    except LedgerError:
        return ""


def _list(ledger: Ledger, now: float) -> list[dict[str, Any]]:
    entries = directory_queries.accounts(ledger)
    held = directory_queries.held_counts(ledger)
    day = queries.counts(ledger, now - DAY)
    suspended: set[str] = set()
    senders: dict[str, int] = {}
    named: set[str] = set()
    for standing in directory_queries.standings(ledger):
        account = standing.account or standing.subject
        named.add(account)
        if standing.change == "suspended" and not 0 < standing.until <= now:
            if standing.scope == "account":
                suspended.add(standing.subject)
            else:
                senders[account] = senders.get(account, 0) + 1
    return [
        {
            "account": account,
            "name": entries.get(account, {}).get("name", ""),
            "contact": entries.get(account, {}).get("contact", ""),
            "suspended": account in suspended,
            "senders_suspended": senders.get(account, 0),
            "held": held.get(account, 0),
            "day": day.get(account, {}),
        }
        for account in sorted(entries.keys() | held.keys() | day.keys() | named)
    ]


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
        "held": directory_queries.held_counts(ledger).get(account, 0),
        "day": queries.counts(ledger, now - DAY, account).get(account, {}),
        "decisions": newest,
    }


def _plain(standing: Standing) -> dict[str, Any]:
    return {name: getattr(standing, name) for name in standing.__struct_fields__}
