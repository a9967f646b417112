"""To open a message is to read somebody's letter: it is written down, once for each person and message."""

from __future__ import annotations

import asyncio

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger.audit_queries import Search, search
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.spool import NotInSpool, Spool

OPENED = "held.open"
"""What the audit calls it."""


async def content_of(
    ledger: Ledger, journal: Journal, spool: Spool, clock: Clock, id_: str, *, by: str
) -> tuple[bytes, bool]:
    """The octets of a message in this machine's spool, and whether `by` had not opened it before.

    Raises DeskError if there is no such message (any more), or its opening cannot be written down; LedgerError.
    """
    try:
        content = await spool.content(id_)
    except NotInSpool:
        raise DeskError(
            f"{id_} is not in this machine's spool: it was released or deleted, or another machine has it"
        ) from None
    except OSError as error:
        raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
    known = await asyncio.to_thread(search, ledger, Search(by=by, what=OPENED, subject=id_, limit=1))
    if not known.entries:
        on_disk(journal, Audit(time=clock.now(), by=by, what=OPENED, subject=id_))
    return content, not known.entries
