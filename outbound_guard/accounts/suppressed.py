"""Suppression lists in memory: which recipients an account is not to write to any more.

The ledger has the truth. A process that refuses because of the lists keeps this copy of them, as numbers, and reads
what has changed since the last time; a ledger that cannot be read, or an entry that is not read yet, refuses nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING

from outbound_guard.mail import same_address
from outbound_guard.reply import Reply, suppressed

if TYPE_CHECKING:
    # Loading SQLAlchemy is left to whoever opens a ledger.
    from outbound_guard.ledger.database import Ledger

MOST = 500_000
"""Recipients that are known at a time, some 50 MB; those that were listed last are kept."""
_CHUNK = 2000
_PATIENCE = 10

_log = logging.getLogger(__name__)


class Suppressed:
    """Look-ups are dictionary reads and never wait. One event loop uses it."""

    def __init__(self, ledger: Ledger, most: int = MOST) -> None:
        """`most`: recipients that are kept at a time."""
        self._ledger, self._most = ledger, most
        # By a hash, so that half a million addresses do not fill the memory of each process.
        self._why: dict[int, str] = {}
        self._revision = -1
        self._failures = 0

    def __len__(self) -> int:
        return len(self._why)

    def answer(self, account: str, recipient: str, id_: str = "") -> Reply | None:
        """The refusal for a recipient on the account's list; None for all others. `id_`: of the message."""
        why = self._why.get(_hash(account, recipient)) if self._why else None
        return suppressed(why, id_) if why else None

    async def refresh(self) -> None:
        """Read what has changed. Never raises for a ledger that cannot be read; takes turns with other work."""
        from outbound_guard.ledger.database import LedgerError

        try:
            if self._revision < 0:
                # What is beyond the bound is never read; and a change while this goes on is read after it.
                self._revision = await asyncio.to_thread(_start, self._ledger, self._most)
            while rows := await asyncio.to_thread(_read, self._ledger, self._revision):
                for key, why, revision in rows:
                    self._revision = max(self._revision, revision)
                    self._why.pop(key, None)
                    if why:
                        self._why[key] = why
                    if len(self._why) > self._most:
                        del self._why[next(iter(self._why))]
                if len(rows) < _CHUNK:
                    break
        except LedgerError as error:
            self._failures += 1
            if self._failures == (1 if self._revision >= 0 else _PATIENCE):
                _log.warning("suppression lists cannot be read and stay as they are: %s", error)
            return
        self._failures = 0


def _start(ledger: Ledger, most: int) -> int:
    from outbound_guard.ledger import feedback_queries

    return feedback_queries.suppression_start(ledger, most)


def _read(ledger: Ledger, revision: int) -> list[tuple[int, str, int]]:
    from outbound_guard.ledger import feedback_queries

    rows = feedback_queries.suppression_changes(ledger, revision, _CHUNK)
    return [(_hash(account, address), why, number) for account, address, why, number in rows]


def _hash(account: str, address: str) -> int:
    digest = hashlib.blake2b(f"{account}\0{same_address(address)}".encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest())
