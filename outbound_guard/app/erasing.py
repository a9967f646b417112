"""Accounts that are to be erased, in the console process: it alone writes the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable

from outbound_guard.app.parts import Parts
from outbound_guard.desk.accounts.erasure import carry_out
from outbound_guard.ledger.database import Ledger, LedgerError
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.reputation import Reputation
from outbound_guard.state import State

SECONDS = 1.0
"""Between two looks at what was ordered."""
_PATIENCE = 10.0
"""Seconds for one call of the store: nobody waits."""

_log = logging.getLogger(__name__)


async def erase_accounts(parts: Parts, writer: Ledger, scribe: Scribe, node: str, leads: Callable[[], bool]) -> None:
    """Carry out orders to erase accounts in the background until the parts are closed. `writer` is the scribe's.

    `node` is the name of this host; `leads` says whether it is the one of those with a shared ledger that leads.
    """
    state = await State.connect(parts.child.state_url, timeout=_PATIENCE, count=parts.metrics.count)
    parts.stack.push_async_callback(state.close)
    memory = Reputation(state)

    async def once() -> None:
        if not scribe.ready:
            return
        try:
            await carry_out(
                writer,
                parts.spool,
                memory,
                parts.journal,
                parts.clock,
                lambda: scribe.backlog == 0,
                node=node if writer.shared else "",
                leads=leads(),
            )
        except (LedgerError, OSError) as error:
            _log.error("an account cannot be erased for now: %s", error)

    parts.every(SECONDS, once)
