"""What the pages and the API work with."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar.di import NamedDependency

from outbound_guard.blocklist.watch import Watch
from outbound_guard.clock import Clock
from outbound_guard.config import Config
from outbound_guard.desk.people.users import Settle, at_once
from outbound_guard.desk.policy.backtests import Backtests
from outbound_guard.desk.queue.desk import QueueDesk
from outbound_guard.feedback import Intake
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Standing
from outbound_guard.metrics import Metrics
from outbound_guard.reputation import Reputation
from outbound_guard.spool import Spool


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """One for the console process; a handler gets it by an argument `tools: GivenTools`."""

    config: Config
    clock: Clock
    reader: Ledger
    """To ask. SQL blocks: `await asyncio.to_thread(...)`."""
    writer: Ledger
    """For what is the console's own: sessions, progress of bulk actions. What people decide goes to the journal."""
    journal: Journal
    spool: Spool
    reputation: Reputation
    metrics: Metrics
    backtests: Backtests
    queue: QueueDesk
    feedback: Intake | None = None
    """Takes reports in."""
    watch: Watch | None = None
    """Asks the blocklists about our addresses; None if nobody does."""
    settle: Settle = at_once
    """Returns when the ledger has what this process has written to the journal, or after some seconds without it."""
    tell: Callable[[Standing], None] = lambda standing: None
    """Lets every process of all hosts know at once that somebody is suspended or resumed; the ledger tells it too."""
    reload: Callable[[], bool] = lambda: False
    """Has all processes read the policy again; False if there is nobody to tell."""


GivenTools = NamedDependency[Tools]
