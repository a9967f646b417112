"""The console process' share in who leads, of the hosts that have one ledger."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from outbound_guard.app.parts import Parts
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.nodes import Lead

_RENEW = 2.0
"""Seconds between two times that the promise to lead is renewed, or asked for."""
_MEASURED = (
    "held_expiring",
    "cases_open",
    "cases_overdue",
    "blocklist_subjects",
    "blocklist_round_age",
    "own_addresses",
)
"""Gauges of what all hosts share: the one that leads has them, the others 0."""

_log = logging.getLogger(__name__)


def take_part(parts: Parts, writer: Ledger, name: str, ready: Callable[[], bool]) -> Lead:
    """Lead whenever nobody else does, until the parts are closed. `writer` is the scribe's, `ready`: it has its schema.

    `name` is this host's.
    """
    lead = Lead(writer, name)
    led = lead.leads

    async def renew() -> None:
        nonlocal led
        if ready():
            try:
                await asyncio.to_thread(lead.renew)
            except LedgerError as error:
                _log.error("who leads cannot be said for now: %s", error)
        if lead.leads != led:
            led = lead.leads
            _log.info("this host %s", "leads from now on" if led else "does not lead any more")
        parts.metrics.gauge("ledger_leads", float(led))
        if not led:
            # Each time: a measurement may have been under way when the promise ended.
            for name in _MEASURED:
                parts.metrics.clear(name)

    async def give_up() -> None:
        with contextlib.suppress(LedgerError):
            await asyncio.to_thread(lead.give_up)

    parts.stack.push_async_callback(give_up)
    parts.every(_RENEW, renew)
    return lead
