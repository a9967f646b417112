"""All queued messages in memory, so that a list of a hundred thousand answers at once.

The spool is the truth, and its files are read once: an entry never changes, and a progress tells by its file's time
that it has. Nothing is read before somebody looks, and nothing while nobody does. Whoever asks gets what is known at
that moment, which of a long queue may be some seconds old, or, right after the start, not all yet; it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.queue.listing import Summary, summary
from outbound_guard.desk.queue.waiting import KEPT, Waiting, waiting
from outbound_guard.spool import Progress, Spool, State
from outbound_guard.spool.files import Files

MOST = 250_000
"""Messages that are known; of a longer queue the oldest. About a kilobyte each."""
PATIENCE = 0.15
"""Seconds that a question waits for news of the spool."""
_PUBLISHED = 5_000
"""Messages after which those that were read so far can be seen."""
_SHARE = 10
"""To look takes at most one part in so many of the time."""

_log = logging.getLogger(__name__)


class Known(msgspec.Struct, frozen=True):
    """The queue as it was a moment ago."""

    rows: dict[str, Waiting]
    """By id, the oldest first. Nobody changes it."""
    total: int
    """Messages in the queue; more than there are rows while they are being read, or beyond MOST."""
    time: float
    """Unix seconds at which the spool was looked at; 0: not yet to the end."""
    summary: Summary | None = None
    """Of all; None: not yet."""

    @property
    def complete(self) -> bool:
        """False while the queue is read for the first time."""
        return self.time > 0


class Index:
    """Keeps what is known of the queue of one spool."""

    def __init__(self, spool: Spool, clock: Clock, patience: float = PATIENCE) -> None:
        """`patience`: seconds that a question waits for news of the spool."""
        self._patience = patience
        self._files = spool.files
        self._clock = clock
        self._known = Known({}, 0, 0.0)
        self._marks: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._started = self._next = 0.0
        self._stale = False

    async def known(self, patience: float = 0.0) -> Known:
        """The queue, after at most so many seconds. Raises OSError if the spool could never be read."""
        if self._looking is None and time.monotonic() >= self._next:
            self._started, self._stale = time.monotonic(), False
            self._looking = asyncio.create_task(asyncio.to_thread(self.look))
            self._looking.add_done_callback(self._looked)
        if looking := self._looking:
            await asyncio.wait({looking}, timeout=max(patience, self._patience))
            if looking.done() and (error := looking.exception()) and not self._known.complete:
                raise error
        return self._known

    def stale(self) -> None:
        """Somebody has changed the queue: look again when the next one asks."""
        self._next, self._stale = 0.0, True

    def one(self, id_: str) -> Waiting | None:
        """A message with all of its recipients, from its files; None if it is not queued. Blocks. Raises OSError."""
        return _read(self._files, id_, True, most=0)

    def look(self) -> None:
        """Look at the spool and read what is new; blocks. One at a time. Raises OSError."""
        now = self._clock.now()
        marks = self._files.progress_marks()
        # Twice, since what is tried anew moves from the second to the first.
        names = {*self._files.ids("incoming"), *self._files.ids("queue"), *self._files.ids("incoming")}
        before, first = self._known.rows, not self._known.complete
        rows: dict[str, Waiting] = {}
        read: dict[str, int] = {}
        for id_ in sorted(names)[:MOST]:
            mark = marks.get(id_, 0)
            row = before.get(id_) if self._marks.get(id_) == mark else None
            if row is None:
                # What cannot be read now is left out; whoever delivers it says so in the log.
                with contextlib.suppress(OSError):
                    row = _read(self._files, id_, mark != 0)
            if row is not None:
                rows[id_], read[id_] = row, mark
                if first and len(rows) % _PUBLISHED == 0:
                    self._known = Known(dict(rows), len(names), 0.0)
        self._marks = read
        self._known = Known(rows, len(names) if len(names) > MOST else len(rows), now, summary(rows.values()))

    def _looked(self, looking: asyncio.Task[None]) -> None:
        self._looking = None
        now = time.monotonic()
        # What was changed meanwhile may have been looked at before.
        self._next = 0.0 if self._stale else now + _SHARE * (now - self._started)
        if not looking.cancelled() and (error := looking.exception()):
            _log.error("the queue cannot be read: %s", error)

    async def close(self) -> None:
        """Wait for the thread that looks."""
        if self._looking:
            await asyncio.gather(self._looking, return_exceptions=True)


def _read(files: Files, id_: str, tried: bool, most: int = KEPT) -> Waiting | None:
    """A message from its files; None if it has gone. `tried`: something may be noted of it. Raises OSError."""
    states: tuple[State, ...] = ("queue", "incoming", "queue")
    for state in states:
        entry = files.entry_or_none(id_, state)
        if entry is not None:
            return waiting(entry, files.progress(id_) if tried else Progress(), most)
    return None
