"""The console process: puts the journal into the ledger, and keeps it tidy."""

from __future__ import annotations

import contextlib
import logging

from outbound_guard.app.parts import Child, Parts, until_told
from outbound_guard.config import Config
from outbound_guard.desk.reconcile import reconcile
from outbound_guard.ledger.database import Ledger, url_of
from outbound_guard.ledger.scribe import Scribe

_log = logging.getLogger(__name__)


async def run(config: Config, child: Child) -> None:
    """Serve until told to stop. Raises ConfigError for what cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(config, child, stack)
        ledger = Ledger(url_of(config.ledger.url, config.data_dir), writer=True)
        stack.callback(ledger.close)
        scribe = Scribe(config.data_dir / "journal", ledger, parts.clock, keep_days=config.ledger.keep_days)
        stack.callback(scribe.close)
        parts.background(scribe.run())
        written = 0
        reconciled = False

        async def measure() -> None:
            nonlocal written, reconciled
            parts.metrics.gauge("ledger_up", float(scribe.ready))
            parts.metrics.gauge("ledger_backlog_records", scribe.backlog)
            parts.metrics.count("ledger_written_total", by=scribe.stored - written)
            written = scribe.stored
            if scribe.ready and not reconciled:
                put_right = await reconcile(parts.spool, ledger, parts.journal, parts.clock)
                reconciled = True
                _log.info("spool and ledger compared: %s", put_right)

        parts.every(1.0, measure)
        parts.background(parts.metrics.keep_flushing())
        child.ready()
        await until_told()
