"""The console process: puts the journal into the ledger, and keeps it tidy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from outbound_guard.app.casework import work_on_cases
from outbound_guard.app.deskwork import work_on_decisions
from outbound_guard.app.erasing import erase_accounts
from outbound_guard.app.feedback import take_feedback
from outbound_guard.app.parts import Child, Parts, until_told
from outbound_guard.app.reminding import remind_of_ends
from outbound_guard.app.watching import watch_addresses
from outbound_guard.app.webserver import serve_console
from outbound_guard.config import Config
from outbound_guard.desk.held.reconcile import Reconciled, reconcile
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.trace.tape import tidy

_log = logging.getLogger(__name__)

_TIDY = 3600.0
"""Seconds until old recordings are looked for again."""
_COMPARE = 60.0
"""Seconds between two comparisons of spool and ledger."""


async def run(config: Config, child: Child) -> None:
    """Serve until told to stop. Raises ConfigError for what cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(config, child, stack)
        ledger = Ledger(url_of(config.ledger.url, config.data_dir), writer=True)
        stack.callback(ledger.close)
        keep_days = config.ledger.keep_days
        scribe = Scribe(config.data_dir / "journal", ledger, parts.clock, keep_days=keep_days, keep=config.retention)
        stack.callback(scribe.close)
        parts.background(scribe.run())
        watch = watch_addresses(parts, ledger, lambda: scribe.ready)
        work_on_cases(parts, ledger, lambda: scribe.ready)
        remind_of_ends(parts, lambda: scribe.ready)
        intake = await take_feedback(parts, ledger, lambda: scribe.ready)
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
                # A ledger of their own is all that machines with an embedded one have; a shared one knows others' mail.
                alone = config.ledger.url == "embedded"
                put_right = await reconcile(
                    parts.spool,
                    ledger,
                    parts.journal,
                    parts.clock,
                    hostname=parts.hostname,
                    alone=alone,
                    suspected=suspected,
                )
                if put_right != Reconciled():
                    _log.warning("spool and ledger disagreed and were brought together: %s", put_right)

        parts.every(1.0, measure)
        await erase_accounts(parts, ledger, scribe)
        await work_on_decisions(parts, scribe)
        await serve_console(parts, ledger, scribe, watch, intake)

        async def forget() -> None:
            # Also what was recorded before recording was switched off is not kept for longer.
            await asyncio.to_thread(tidy, config.recording_dir, config.recording, parts.clock.now())

        parts.every(_COMPARE, compare)
        parts.every(_TIDY, forget)
        parts.measure()
        # A reload is for those who use the policy; without a handler it would end this process.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
        child.ready()
        await until_told()
