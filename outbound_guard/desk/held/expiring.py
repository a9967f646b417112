"""Nothing that waits for a person ends silently: how much ends soon, and who is to be told of it.

`spool.hold_expiry` after it came in, such a message goes back to its sender (or into quarantine, if its account
does not own that address). `spool.hold_warning` before that it is said: on the pages, by a metric, and in the mail log.
"""

from __future__ import annotations

import time

import msgspec

from outbound_guard.config.settings import Spool
from outbound_guard.ledger import waiting_queries
from outbound_guard.ledger.database import Ledger

MOST_ACCOUNTS = 10
"""So many accounts are named."""


class Account(msgspec.Struct, frozen=True):
    """Messages of one account that end soon."""

    account: str
    messages: int
    ends: float
    """When the first of them ends (unix seconds)."""


class Expiring(msgspec.Struct, frozen=True):
    """What waits for a person and ends soon."""

    messages: int
    ends: float
    """When the first of them ends (unix seconds); 0: none does."""
    within: float
    """What is meant by soon: seconds."""
    accounts: tuple[Account, ...]
    """Those with the most of them."""


def expiring(ledger: Ledger, spool: Spool, now: float) -> Expiring:
    """What ends within `spool.hold_warning` of `now` (unix seconds). Sync. Raises LedgerError."""
    if not spool.hold_warning:
        return Expiring(0, 0.0, 0.0, ())
    before = _received_before(spool, now)
    number, first = waiting_queries.ending_count(ledger, before)
    found = waiting_queries.ending(ledger, before, MOST_ACCOUNTS) if number else []
    ends = first + spool.hold_expiry if number else 0.0
    return Expiring(number, ends, spool.hold_warning, tuple(_account(row, spool) for row in found))


class Reminder:
    """Says of each account once a day that messages of it end soon."""

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        self.messages = 0
        """Messages that end soon, at the last look."""
        self._ledger, self._spool = ledger, spool
        self._told: dict[str, str] = {}

    def look(self, now: float) -> list[Account]:
        """The accounts of which it has not been said today (local time). Sync. Raises LedgerError."""
        if not self._spool.hold_warning:
            return []
        found = waiting_queries.ending(self._ledger, _received_before(self._spool, now))
        self.messages = sum(row.messages for row in found)
        today = time.strftime("%Y-%m-%d", time.localtime(now))
        new = [row for row in found if self._told.get(row.account) != today]
        # Who has nothing left that ends may be forgotten; of the others today is remembered.
        self._told = {row.account: today for row in found}
        return [_account(row, self._spool) for row in new]


def _received_before(spool: Spool, now: float) -> float:
    return now + spool.hold_warning - spool.hold_expiry


def _account(row: waiting_queries.Ending, spool: Spool) -> Account:
    return Account(row.account, row.messages, row.first + spool.hold_expiry)
