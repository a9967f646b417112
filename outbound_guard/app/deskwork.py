"""Decisions about many held messages, in the console process: what is due is carried out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from outbound_guard.app.parts import Parts
from outbound_guard.app.settling import settled
from outbound_guard.config import policy_of
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.bulk_work import Work
from outbound_guard.desk.held.teaching import Teaching
from outbound_guard.desk.policy.weights import Lessons
from outbound_guard.ledger.database import Ledger, LedgerError, url_of
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.reputation import Reputation
from outbound_guard.state import State

_SECONDS = 0.25
_AT_LEAST = 1.0
"""Between two looks at what is due."""
_SETTLE = 5.0
"""Seconds that the ledger gets to take in what was just journaled; after that it is tried again later."""

_log = logging.getLogger(__name__)


async def work_on_decisions(parts: Parts, writer: Ledger, scribe: Scribe, node: str, leads: Callable[[], bool]) -> None:
    """Carry out in the background what is due, until the parts are closed. Raises ConfigError.

    `writer` is the scribe's ledger, `node` the name of this host; `leads` says whether it leads
    those that share the ledger.
    """
    config, clock = parts.config, parts.clock
    reader = Ledger(url_of(config.ledger.url, config.data_dir))
    parts.stack.callback(reader.close)
    state = await State.connect(parts.child.state_url, timeout=config.state.timeout, count=parts.metrics.count)
    parts.stack.push_async_callback(state.close)

    @asynccontextmanager
    async def memory() -> AsyncIterator[Reputation]:
        yield Reputation(state)
        await state.flush()

    def teaching(by: str, say: Callable[[str], None]) -> Teaching:
        def lessons() -> Lessons:
            return Lessons(reader, parts.journal, clock, policy_of(config).threshold.hold, by=by)

        return Teaching(memory, lessons if config.policy.learn else None, clock, say)

    work = Work(
        reader,
        parts.spool,
        parts.journal,
        clock,
        hostname=parts.hostname,
        settled=lambda: settled(parts, scribe, _SETTLE),
        teaching=teaching,
        writer=writer if writer.shared else None,
        node=node if writer.shared else "",
        leads=leads,
    )

    looked, stored = float("-inf"), -1

    async def once() -> None:
        nonlocal looked, stored
        if not scribe.ready:
            return
        # While no record comes, here or on another host, only time can make something due.
        if not writer.shared and scribe.stored == stored and 0 <= clock.now() - looked < _AT_LEAST:
            return
        looked, stored = clock.now(), scribe.stored
        try:
            await work.once()
        except (DeskError, LedgerError) as error:
            # What is not done yet stays pending, and is taken up with the next look.
            _log.error("decisions about held mail wait: %s", error)

    parts.every(_SECONDS, once)
