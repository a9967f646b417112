"""Cases in the console process: what needs nobody, again and again, and the figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from outbound_guard.app.parts import Parts
from outbound_guard.desk.cases.stages import NAMES
from outbound_guard.desk.cases.work import Work
from outbound_guard.ledger import case_queries
from outbound_guard.ledger.database import Ledger, LedgerError, url_of

SECONDS = 5.0
"""Between two looks at what has happened."""
_TOLD = ("opened", "reopened", "reminder", "escalation")
"""What stands in the mail log; the rest stands in the ledger."""

_log = logging.getLogger(__name__)


def work_on_cases(parts: Parts, ledger: Ledger, ready: Callable[[], bool]) -> None:
    """Work on cases in the background until the parts are closed. `ledger` is the writer's; `ready`: it can be used.

    Raises ConfigError.
    """
    reader = Ledger(url_of(parts.config.ledger.url, parts.config.data_dir))
    parts.stack.callback(reader.close)
    work = Work(ledger, reader, parts.config, parts.clock)
    opened = reopened = -1

    async def once() -> None:
        if not ready():
            return
        try:
            await asyncio.to_thread(work.once)
            if ready():
                await work.ask()
            if ready():
                await measure()
        except LedgerError as error:
            _log.error("cases cannot be worked on for now: %s", error)
        news, work.news = work.news, []
        for event in news:
            if event.what in _TOLD:
                fields = {"case": event.case, "what": event.what, "text": event.text.partition("\n")[0]}
                parts.log.event("Case", event.time, **fields)

    async def measure() -> None:
        nonlocal opened, reopened
        stages = await asyncio.to_thread(case_queries.stages, reader, parts.clock.now())
        for stage in NAMES:
            number, late = stages.get(stage, (0, 0))
            parts.metrics.gauge("cases_open", number, stage)
            parts.metrics.gauge("cases_overdue", late, stage)
        before = opened, reopened
        opened, reopened = await asyncio.to_thread(case_queries.opened_counts, reader)
        if before[0] >= 0:
            # The ledger knows them all; counted is what came since this process began.
            parts.metrics.count("cases_opened_total", by=max(0, opened - before[0]))
            parts.metrics.count("cases_reopened_total", by=max(0, reopened - before[1]))

    parts.every(SECONDS, once)
