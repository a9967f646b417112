"""The journal: where records are written, by any process, without waiting for SQL.

A record costs a few microseconds: it becomes a line in memory. Lines go to the open segment about five times a second,
and the segment is sealed after a second, for the scribe to take. A process that is killed loses at most the lines of
the last fifth of a second; what is held is known from the spool, so nothing that matters depends on them. What must be
on disk before something is done goes through `write`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.ledger import segments
from outbound_guard.ledger.records import Record, encode

FLUSH_SECONDS = 0.2
SEAL_SECONDS = 1.0
SEAL_BYTES = 256 * 1024
FLUSH_BYTES = 256 * 1024
KEEP_BYTES = 16 * 1024 * 1024
"""So much is kept in memory while the disk refuses; what comes after is counted as lost."""

log = logging.getLogger(__name__)


class Journal:
    """Writes the records of one process. Not for several threads at once."""

    def __init__(
        self,
        directory: Path,
        slot: str,
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        """`call_later` is the event loop's. Without it nothing is flushed by time: call `flush` and `close`.

        A segment that an earlier process of this slot left open is handed to the scribe.
        """
        self.failures = 0
        """Writes that failed so far; the lines were kept and tried again."""
        self.failing = False
        """True if the last write failed."""
        self.lost = 0
        """Records given up because memory for them was full."""
        self._directory = directory
        self._slot = slot
        self._clock = clock
        self._call_later = call_later
        self._timer = False
        self._lines: list[bytes] = []
        self._pending = 0
        self._fd = -1
        self._path: Path | None = None
        self._size = 0
        self._named = False
        self._opened = 0.0
        self._count = 0
        with self._tolerant():
            segments.adopt(directory, slot)

    def append(self, record: Record) -> None:
        """Record something. Never fails, never waits but for a write that is long due."""
        line = encode(record)
        if self._pending > KEEP_BYTES:
            self.lost += 1
            return
        self._lines.append(line)
        self._pending += len(line) + 1
        if self._pending >= FLUSH_BYTES and not self.failing:
            self.flush()
        if not self._timer:
            self._arm()

    def write(self, *records: Record) -> None:
        """Record something and have it on disk (fsync) when this returns.

        Raises OSError, and then none of these records will be found in the journal.
        """
        self._put_lines()
        self._put(b"".join(encode(record) + b"\n" for record in records), sync=True)
        self._seal_if_due()
        self._arm()

    def flush(self, *, sync: bool = False) -> None:
        """Write what waits in memory; with `sync` also to the disk itself. A failure is counted, the lines are kept."""
        with self._tolerant():
            self._put_lines(sync=sync)
            self._seal_if_due()

    def seal(self) -> None:
        """Write everything and hand the open segment to the scribe now instead of within a second."""
        self.flush()
        with self._tolerant():
            self._seal()

    def close(self) -> None:
        """Write and seal everything; the journal may be used again afterwards."""
        self.seal()

    @property
    def waiting(self) -> int:
        """Octets in memory that are not written yet."""
        return self._pending

    def _arm(self) -> None:
        if not self._timer and self._call_later is not None:
            self._timer = True
            self._call_later(FLUSH_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = False
        self.flush()
        if self._lines or self._fd >= 0:
            self._arm()

    def _put_lines(self, *, sync: bool = False) -> None:
        if self._lines:
            self._put(b"\n".join(self._lines) + b"\n", sync=sync)
            self._lines, self._pending, self.failing = [], 0, False
        elif sync and self._fd >= 0:
            os.fsync(self._fd)

    def _put(self, data: bytes, *, sync: bool) -> None:
        """All of `data` into the open segment, or nothing of it and an OSError."""
        if self._fd < 0:
            self._open()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
            if sync:
                os.fsync(self._fd)
                if not self._named:
                    segments.sync_directory(self._directory)
                    self._named = True
        except OSError:
            self._take_back()
            raise
        self._size += len(data)

    def _take_back(self) -> None:
        """Cut off a half-written piece. Should that fail too, the torn line is left as the segment's last."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                self._seal()

    def _open(self) -> None:
        now = self._clock.now()
        try:
            self._fd, self._path = segments.create(self._directory, self._slot, now, self._count)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd, self._path = segments.create(self._directory, self._slot, now, self._count)
        self._opened, self._size, self._named = now, 0, False
        self._count += 1

    def _seal_if_due(self) -> None:
        # A clock that was set back must not keep a segment open.
        if self._fd >= 0 and (self._size >= SEAL_BYTES or not 0 <= self._clock.now() - self._opened < SEAL_SECONDS):
            self._seal()

    def _seal(self) -> None:
        if self._fd < 0:
            return
        fd, path, self._fd, self._path = self._fd, self._path, -1, None
        try:
            if path is not None:
                segments.seal(path)
        finally:
            # Closing gives up the lock, so should the renaming have failed the scribe adopts the segment.
            os.close(fd)

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Counts an OSError and goes on: the journal never stops mail."""
        try:
            yield
        except OSError as error:
            if not self.failing:
                log.error("journal cannot be written, records are kept in memory: %s", error)
            self.failing = True
            self.failures += 1
