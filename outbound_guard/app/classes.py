"""What the ledger knows of the classes of senders, for the processes that judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from outbound_guard.ledger import class_queries
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.reputation.sender_classes import MOST, SenderClasses

_log = logging.getLogger(__name__)


def class_news(ledger: Ledger, classes: SenderClasses) -> Callable[[], Awaitable[None]]:
    """To be awaited again and again: brings what has changed since. A ledger that is away changes nothing."""
    serial = -1

    async def look() -> None:
        nonlocal serial
        try:
            if serial < 0:
                found, serial = await asyncio.to_thread(class_queries.newest, ledger, MOST)
            else:
                found, serial = await asyncio.to_thread(class_queries.changes_since, ledger, serial)
        except LedgerError as error:
            _log.debug("the classes of senders cannot be read: %s", error)
            return
        classes.learn((one.account, one.sender, one.class_, one.time) for one in found)

    return look
