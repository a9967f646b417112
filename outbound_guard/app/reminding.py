"""The console process's part that says in time that held mail is about to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from outbound_guard.app.parts import Parts
from outbound_guard.desk.held.expiring import Reminder
from outbound_guard.ledger.database import Ledger, LedgerError, url_of

SECONDS = 5.0
"""Between two looks."""

_log = logging.getLogger(__name__)


def remind_of_ends(parts: Parts, ready: Callable[[], bool]) -> None:
    """Remind in the background until the parts are closed. `ready`: the ledger can be asked."""
    reader = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(reader.close)
    reminder = Reminder(reader, parts.config.spool)

    async def once() -> None:
        if not ready():
            return
        now = parts.clock.now()
        try:
            accounts = await asyncio.to_thread(reminder.look, now)
        except LedgerError as error:
            _log.error("what of the held mail ends soon is not known for now: %s", error)
            return
        parts.metrics.gauge("held_expiring", reminder.messages)
        for one in accounts:
            parts.log.event("Expiring", now, account=one.account, messages=one.messages, ends=round(one.ends, 3))

    parts.every(SECONDS, once)
