"""The console process's part in what customers answer: links for notices, and a look at what followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from outbound_guard.app.parts import Parts
from outbound_guard.desk.customers.links import make_link
from outbound_guard.desk.customers.offences import look_for_offences
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.database import Ledger, LedgerError, url_of

SECONDS = 30.0
"""Between two looks for offences."""
_WAIT = 10.0
"""Seconds that a notice waits for its link."""

_log = logging.getLogger(__name__)


def watch_customers(parts: Parts, ready: Callable[[], bool]) -> None:
    """Look in the background what became of mail that customers released. `ready`: the ledger can be asked."""
    if not parts.config.customers.url:
        return
    reader = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(reader.close)

    looked = 0.0

    async def once() -> None:
        nonlocal looked
        if not ready():
            return
        now = parts.clock.now()
        try:
            await look_for_offences(reader, parts.journal, parts.clock, parts.metrics.count, looked=looked)
            looked = now
        except (DeskError, LedgerError) as error:
            _log.error("what followed on releases by customers is not known for now: %s", error)

    parts.every(SECONDS, once)


def customer_link(parts: Parts) -> Callable[[str, tuple[Any, ...], float], str]:
    """A function that makes the link for a notice to an account's customer; called in a thread.

    Called with the account, the notices and the time; empty where there is no link to give: no page, no contact, or
    one that is under suspicion itself.
    """
    loop = asyncio.get_running_loop()
    reader = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(reader.close)

    async def made(account: str) -> str:
        try:
            link = await make_link(reader, parts.journal, parts.clock, parts.config.customers, account, by="system")
        except (DeskError, LedgerError):
            return ""
        return link.url

    def link(account: str, notices: tuple[Any, ...], now: float) -> str:
        if not parts.config.customers.url:
            return ""
        # The journal is written by the loop's own thread alone.
        try:
            return asyncio.run_coroutine_threadsafe(made(account), loop).result(_WAIT)
        except TimeoutError:
            _log.error("no link for the customer of an account could be made in time")
            return ""

    return link
