"""The console process: puts the journal into the ledger, and keeps it tidy."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal

from outbound_guard.app.casework import work_on_cases
from outbound_guard.app.child import Child
from outbound_guard.app.customers import customer_link, watch_customers
from outbound_guard.app.deskwork import work_on_decisions
from outbound_guard.app.erasing import erase_accounts
from outbound_guard.app.feedback import take_feedback
from outbound_guard.app.leading import take_part
from outbound_guard.app.news import spread_decisions
from outbound_guard.app.notices import send_notices
from outbound_guard.app.parts import Parts, until_told
from outbound_guard.app.reminding import remind_of_ends
from outbound_guard.app.watching import watch_addresses
from outbound_guard.app.webserver import serve_console
from outbound_guard.config import Config
from outbound_guard.desk.held.reconcile import Reconciled, reconcile
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.nodes import here
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.trace.tape import tidy

_log = logging.getLogger(__name__)

_TIDY = 3600.0
"""Seconds until old recordings are looked for again."""
_OBJECTS = 10_000
"""So many new ones, less those that went, until what is new is looked through for those that only hold each other. A
second's records are as many at once, and none of them is such."""
_COMPARE = 60.0
"""Seconds between two comparisons of spool and ledger."""
_MIGRATED = 20.0
"""Seconds that a rolling restart waits for the ledger's new schema."""


async def run(config: Config, child: Child) -> None:
    """Serve until told to stop. Raises ConfigError for what cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(config, child, stack)
        ledger = Ledger(url_of(config.ledger.url, config.data_dir), writer=True)
        stack.callback(ledger.close)
        host = here(config)
        lead = take_part(parts, ledger, host.name, lambda: scribe.ready)
        scribe = Scribe(
            config.data_dir / "journal",
            ledger,
            parts.clock,
            keep_days=config.ledger.keep_days,
            keep=config.retention,
            here=host,
            leads=lambda: lead.leads,
        )
        stack.callback(scribe.close)
        await spread_decisions(parts, scribe)
        parts.background(scribe.run())

        def leads() -> bool:
            """True if this host is to do what only one of those does that share the ledger, and the ledger is there."""
            return scribe.ready and lead.leads

        watch = watch_addresses(parts, ledger, leads)
        work_on_cases(parts, ledger, leads)
        remind_of_ends(parts, leads)
        watch_customers(parts, leads)
        send_notices(parts, ledger, leads, link=customer_link(parts))
        intake = await take_feedback(parts, ledger, lambda: scribe.ready, leads)
        written = rejected = 0
        suspected: set[str] = set()

        async def measure() -> None:
            nonlocal written, rejected
            parts.metrics.gauge("ledger_up", float(scribe.ready))
            parts.metrics.gauge("ledger_backlog_segments", scribe.backlog)
            parts.metrics.count("ledger_written_total", by=scribe.stored - written)
            parts.metrics.count("ledger_rejected_total", by=scribe.rejected - rejected)
            written, rejected = scribe.stored, scribe.rejected

        async def compare() -> None:
            if scribe.ready:
                put_right = await reconcile(
                    parts.spool,
                    ledger,
                    parts.journal,
                    parts.clock,
                    hostname=parts.hostname,
                    # A shared ledger knows others' mail too.
                    node=host.name if ledger.shared else "",
                    suspected=suspected,
                )
                if put_right != Reconciled():
                    _log.warning("spool and ledger disagreed and were brought together: %s", put_right)

        parts.every(1.0, measure)
        await erase_accounts(parts, ledger, scribe, host.name, lambda: lead.leads)
        await work_on_decisions(parts, ledger, scribe, host.name, lambda: lead.leads)
        await serve_console(parts, ledger, scribe, watch, intake)

        async def forget() -> None:
            # Also what was recorded before recording was switched off is not kept for longer.
            await asyncio.to_thread(tidy, config.recording_dir, config.recording, parts.clock.now())

        parts.every(_COMPARE, compare)
        parts.every(_TIDY, forget)
        parts.measure()
        # A reload is for those who use the policy; without a handler it would end this process.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
        await _first_pass(scribe)
        # What is loaded now stays; looking through it again and again costs a fifth of what is stored.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_OBJECTS, 20, 50)
        child.ready()
        await until_told()


async def _first_pass(scribe: Scribe) -> None:
    """Wait until the ledger has this version's schema, or cannot be had now: after an update the others read it."""
    for _ in range(400):
        if scribe.ready or scribe.failures:
            return
        await asyncio.sleep(_MIGRATED / 400)
