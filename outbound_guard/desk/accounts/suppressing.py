"""Suppression lists: recipients that an account is not to write to any more, as people add and remove them.

The machine adds who does not exist (recording.py, feedback/findings.py) or has complained. Whether mail is refused for
it is `feedback.suppress` (accounts/suppressed.py).
"""

from __future__ import annotations

import re

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, Suppression
from outbound_guard.mail import same_address

_ADDRESS = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{1,255}")


def add(journal: Journal, clock: Clock, account: str, address: str, *, by: str, reason: str = "") -> Suppression:
    """Put a recipient on an account's list. Raises DeskError."""
    return _change(journal, clock, account, address, "added", by, reason)


def remove(journal: Journal, clock: Clock, account: str, address: str, *, by: str, reason: str = "") -> Suppression:
    """Take a recipient off an account's list, until something new speaks against it. Raises DeskError."""
    return _change(journal, clock, account, address, "removed", by, reason)


def _change(
    journal: Journal, clock: Clock, account: str, address: str, change: str, by: str, reason: str
) -> Suppression:
    if not account:
        raise DeskError("no account was named")
    if not _ADDRESS.fullmatch(address):
        raise DeskError(f"{address!r} is no address")
    now = clock.now()
    record = Suppression(now, account, same_address(address), change, "by_hand", detail=reason, by=by)
    what = "suppression.add" if change == "added" else "suppression.remove"
    detail = f"{record.address}: {reason}" if reason else record.address
    on_disk(journal, record, Audit(time=now, by=by, what=what, subject=account, detail=detail))
    return record
