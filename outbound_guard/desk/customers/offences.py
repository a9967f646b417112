"""Whether a sender offends within a day after a customer has let its mail go; then customers of that account may not.

An offence is a suspension by us, mail that went into quarantine or was refused for what it is, or a proven complaint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from outbound_guard.clock import Clock
from outbound_guard.desk.customers.seen import DAY
from outbound_guard.desk.errors import on_disk
from outbound_guard.ledger import customer_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, CustomerOffence, CustomerRelease

LATE = 3600.0
"""Seconds that the ledger may be late with what relays have seen."""


async def look_for_offences(
    reader: Ledger,
    journal: Journal,
    clock: Clock,
    count: Callable[..., None] = lambda *series, by=1.0: None,
    *,
    looked: float = 0.0,
) -> int:
    """Look at the releases whose day was not over when it was `looked` last (unix seconds): how many new offences were
    found and written down.

    Raises DeskError, LedgerError. After a standstill, and without `looked`, it looks at the releases of two days.
    """
    now, found = clock.now(), 0
    since = min(max(looked - LATE, now - DAY), now - LATE) - DAY
    for answer in await asyncio.to_thread(customer_queries.releases, reader, since):
        until = answer.time + DAY
        offence = await asyncio.to_thread(
            customer_queries.offence_of, reader, answer.sender, answer.account, answer.time, until
        )
        if offence is None:
            continue
        time, what = offence
        reason = f"{answer.sender} offended within a day after its mail was released: {what}"
        on_disk(
            journal,
            CustomerOffence(link=answer.link, sender=answer.sender, time=time, what=what),
            CustomerRelease(account=answer.account, time=now, change="closed", reason=reason),
            Audit(time=now, by="system", what="customer.offence", subject=answer.account, detail=reason),
        )
        count("customer_reoffences_total")
        found += 1
    return found


async def reopen(reader: Ledger, journal: Journal, clock: Clock, account: str, *, by: str, reason: str = "") -> None:
    """Let the customers of an account release mail themselves again. Does nothing if they may. Raises LedgerError."""
    if not await asyncio.to_thread(customer_queries.closed, reader, account):
        return
    now = clock.now()
    on_disk(
        journal,
        CustomerRelease(account=account, time=now, change="opened", by=by, reason=reason),
        Audit(time=now, by=by, what="customer.release_opened", subject=account, detail=reason),
    )
