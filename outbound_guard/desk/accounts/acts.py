"""What people decide about accounts and senders: suspend, resume, limit, exempt, pin; one, or several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Limit
from outbound_guard.desk.accounts.whose import accounts_of
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import account_one_queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, Standing
from outbound_guard.mail import domain_of

DAY = 86400.0
MOST = 1000
"""Subjects of one act."""

Forget = Callable[[str, str], Awaitable[object]]
"""Clears a sender's suspicion: called with sender and account. What it raises is the caller's own business."""
Subject = tuple[str, str]
"""Scope (sender | account) and name."""

_CHANGES = {
    "suspend": "suspended",
    "resume": "resumed",
    "limit": "limited",
    "exempt": "exempted",
    "probation": "probation",
    "pin": "pinned",
    "unpin": "unpinned",
}
WHATS = tuple(_CHANGES)


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided."""

    what: str
    """suspend | resume | limit | exempt | probation | pin | unpin"""
    by: str
    reason: str = ""
    until: float = 0.0
    """Unix seconds at which it ends by itself; 0: not. Of resume: the end of the probation; 0: none."""
    limits: dict[str, int] = {}
    """Of limit: fields of config.Limit; empty: the inherited ones again."""
    pool: str = ""
    """Of pin: the egress pool that its mail goes by, whatever its class."""


async def decide(
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    subjects: Sequence[Subject],
    act: Act,
    forget: Forget | None = None,
    pools: Collection[str] = (),
) -> list[Standing]:
    """Carry out one act on several senders or accounts, all or none of them; what was recorded, in their order.

    `forget` clears the suspicion of whoever is resumed; it is called last. `pools` are the egress pools there are.
    Raises DeskError, what `forget` raises.
    A ledger that cannot be read does not hinder it.
    """
    _check(subjects, act)
    if act.what == "pin" and act.pool not in pools:
        there = f"; there are {', '.join(pools)}" if pools else " in the configuration"
        raise DeskError(f"there is no pool {act.pool!r}{there}")
    try:
        accounts = await accounts_of(ledger, clock, subjects)
    except LedgerError:
        accounts = [subject if scope == "account" else domain_of(subject) for scope, subject in subjects]
    now = clock.now()
    standings: list[Standing] = []
    audit: list[Audit] = []
    for (scope, subject), account in zip(subjects, accounts, strict=True):
        made = _standings(scope, subject, account, act, now)
        standings += made
        audit += [
            Audit(time=now, by=act.by, what=f"{scope}.{one.change}", subject=subject, detail=_detail(one))
            for one in made
        ]
    # All in one piece: a crash in between must not leave half of them.
    on_disk(journal, *standings, *audit)
    if act.what == "resume" and forget is not None:
        for (scope, subject), account in zip(subjects, accounts, strict=True):
            await _forget(ledger, now, scope, subject, account, forget)
    return standings


def _check(subjects: Sequence[Subject], act: Act) -> None:
    if act.what not in _CHANGES:
        raise DeskError(f"{act.what!r} is none of {', '.join(WHATS)}")
    if not subjects:
        raise DeskError("nobody was named")
    if len(subjects) > MOST:
        raise DeskError(f"{len(subjects)} are too many at once; at most {MOST}")
    for scope, subject in subjects:
        if scope not in ("sender", "account") or not subject:
            raise DeskError(f"{scope} {subject!r} is neither a sender nor an account")
    for name, value in act.limits.items():
        if name not in Limit.__struct_fields__ or value < 0:
            raise DeskError(f"{name} = {value} is not a limit")
    if act.what == "exempt" and (not act.until or not act.reason):
        raise DeskError("an exemption needs a reason and an end")
    if act.what == "pin" and not act.reason:
        raise DeskError("a pin needs a reason")
    if act.what == "probation" and not act.until:
        raise DeskError("a probation needs an end")


def _standings(scope: str, subject: str, account: str, act: Act, now: float) -> list[Standing]:
    limits = {name: value for name, value in act.limits.items() if value}
    resumed = act.what == "resume"
    first = Standing(
        time=now,
        scope=scope,
        subject=subject,
        change="unlimited" if act.what == "limit" and not limits else _CHANGES[act.what],
        account=account,
        by=act.by,
        reason=act.reason,
        until=0.0 if resumed else act.until,
        limits=limits,
        pool=act.pool if act.what == "pin" else "",
    )
    if not resumed or act.until <= now:
        return [first]
    return [first, msgspec.structs.replace(first, change="probation", until=act.until)]


def _detail(standing: Standing) -> str:
    told = [f"to pool {standing.pool}"] * bool(standing.pool) + [standing.reason] * bool(standing.reason)
    return ", ".join(told + [f"{name} {value}" for name, value in standing.limits.items()])


async def _forget(ledger: Ledger, now: float, scope: str, subject: str, account: str, forget: Forget) -> None:
    if scope == "sender":
        await forget(subject, account or subject)
        return
    # Its senders were stopped through it; each of them begins anew as well.
    for sender in await asyncio.to_thread(account_one_queries.sender_names, ledger, subject, now - 30 * DAY) or [""]:
        await forget(sender, subject)
