"""The scribe puts the journal into SQL, and forgets what is old. It runs in one process of each host alone.

Each sealed segment goes in with one transaction that also notes the segment's name; then its file is removed. After a
crash in between, the name says that nothing is left to do. While the database is locked, full or down, the segments
wait. A record that cannot be stored is written to `rejected/` and does not stop the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config.settings import Retention
from outbound_guard.ledger import segments, storing, tables
from outbound_guard.ledger.database import BAD_RECORD, Ledger, LedgerError
from outbound_guard.ledger.nodes import Here, enter, forget_absent
from outbound_guard.ledger.records import Record, decode, decode_lines, encode
from outbound_guard.ledger.retention import forget, forget_segments

BATCH_BYTES = 256 * 1024
"""Of the journal in one transaction: as objects ten times as much, and what a process once took for them it keeps."""
BATCH_SEGMENTS = 100
LONGEST_PAUSE = 30.0
MANY = 50
"""Records in one pass from which on the next one waits for `LOADED` seconds: what is put in at once costs less, since
the indexes' pages are written once for all of it."""
LOADED = 1.0
PRUNE_SECONDS = 3600.0
HANGS = 10.0
"""Seconds after which what is being stored is taken for stuck."""
ENTER_SECONDS = 5.0
"""Between two times that this host says it is there."""
_AT_LEAST = 2.0
"""Seconds after which a pass is made even if no segment came."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

log = logging.getLogger(__name__)


class _Segment(msgspec.Struct):
    """A segment's file, read."""

    path: Path
    records: list[Record]
    bad: list[bytes]


class Scribe:
    """Takes the segments of `directory` into `ledger` (opened as writer)."""

    def __init__(
        self,
        directory: Path,
        ledger: Ledger,
        clock: Clock,
        *,
        keep_days: int = 30,
        keep: Retention | None = None,
        here: Here | None = None,
        leads: Callable[[], bool] = lambda: True,
        interval: float = 0.25,
    ) -> None:
        """`keep_days`: how long decisions are kept; `keep`: everything else, as configured by default.

        `here` is this host, as the others of a shared ledger know it. `leads` says whether it is the one that forgets
        what is old. `interval`: seconds between two looks for new segments.
        """
        self.stored = 0
        """Records put into SQL."""
        self.rejected = 0
        """Records that could not be stored and lie in `rejected/`."""
        self.torn = 0
        """Last lines cut off by the death of their writer."""
        self.failures = 0
        """Passes that ended because the ledger could not be used."""
        self.told: Callable[[list[Record]], None] = lambda records: None
        """Called in the scribe's thread with what was just stored."""
        self._directory = directory
        self._ledger = ledger
        self._clock = clock
        self._keep_days, self._keep = keep_days, keep or Retention()
        self._interval = interval
        self._here, self._leads = here or Here(name=""), leads
        self._entered = float("-inf")
        self._lock = -1
        self._migrated = False
        self._well = False
        self._pruned = float("-inf")
        self._hurry = asyncio.Event()
        self._looked: tuple[int, int] = (-1, -2)
        self._last_pass = float("-inf")
        self._storing = False

    def hurry(self) -> None:
        """Look for new segments now. Called on the loop that `run` works on."""
        self._hurry.set()

    async def run(self) -> None:
        """Work until cancelled. Never raises anything but CancelledError."""
        pause = self._interval
        while True:
            if self._nothing_new():
                pause = self._interval
            else:
                before = self.stored
                work = asyncio.ensure_future(asyncio.to_thread(self._pass))
                try:
                    well = await asyncio.shield(work)
                except asyncio.CancelledError:
                    # A thread cannot be cancelled; its transaction is short.
                    await work
                    raise
                if not well:
                    pause = min(max(2 * pause, 0.5), LONGEST_PAUSE)
                else:
                    pause = self._interval
                    if self.stored - before >= MANY:
                        await self._gather(LOADED - self._interval)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            self._hurry.clear()

    async def _gather(self, seconds: float) -> None:
        """Let records gather for so long; less if somebody hurries, or waits at a command for what it has written."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end and not self._hurry.is_set() and not segments.of_commands(self._directory):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._interval)

    def once(self) -> int:
        """Take in every segment that is sealed now: how many records were stored. Raises LedgerError, OSError.

        Also seals what dead writers left open. Does nothing while another process is the scribe.
        """
        if not self._begin():
            return 0
        before = self.stored
        segments.adopt(self._directory)
        batch: list[_Segment] = []
        size = 0
        for path in segments.sealed(self._directory):
            try:
                data = path.read_bytes()
            except OSError as error:
                log.error("journal segment %s cannot be read: %s", path.name, error)
                continue
            if batch and (size + len(data) > BATCH_BYTES or len(batch) >= BATCH_SEGMENTS):
                self._take(batch)
                batch, size = [], 0
            batch.append(self._read(path, data))
            size += len(data)
        if batch:
            self._take(batch)
        return self.stored - before

    def prune(self) -> None:
        """Forget what is older than it is kept; held mail stays. Raises LedgerError."""
        if self._begin():
            waiting = {path.name for path in segments.sealed(self._directory)}
            if self._leads():
                forget(self._ledger, self._clock.now(), self._keep_days, self._keep)
                forget_absent(self._ledger)
            forget_segments(self._ledger, self._clock.now(), self._here.name, waiting)

    @property
    def ready(self) -> bool:
        """True if this is the scribe, and everything that was sealed at its last look is in the ledger.

        No longer while a look lasts and lasts: a database that hangs says nothing of itself.
        """
        return self._well and not (self._storing and self._clock.now() - self._last_pass > HANGS)

    @property
    def backlog(self) -> int:
        """Segments that wait."""
        return len(segments.sealed(self._directory))

    def close(self) -> None:
        """Let another process be the scribe."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _nothing_new(self) -> bool:
        """True if the last pass went well and no file came or went since: then there is no work for a thread.

        A change shows in the directory's time, which moves in steps of some milliseconds; so one that was met is looked
        at in two passes. What dead writers left, which shows nowhere, and this host's sign of life wait for a moment.
        """
        try:
            changed = self._directory.stat().st_mtime_ns
        except OSError:
            return False
        settled = self._looked == (changed, changed)
        self._looked = (self._looked[1], changed)
        return self._well and settled and 0 <= self._clock.now() - self._last_pass < _AT_LEAST

    def _pass(self) -> bool:
        self._last_pass = self._clock.now()
        self._storing = True
        try:
            self.once()
            self._storing = False
            self._well = self._lock >= 0
            now = self._clock.now()
            if self._lock >= 0 and not 0 <= now - self._pruned < PRUNE_SECONDS:
                self.prune()
                self._pruned = now
            return True
        except (LedgerError, OSError) as error:
            log.error("%s; the journal keeps what happens until then", error)
        except Exception:
            log.exception("the scribe failed; the journal keeps what happens")
        self._well = self._storing = False
        self.failures += 1
        return False

    def _begin(self) -> bool:
        """Be the only scribe, and have the schema; False if another process is it. Raises LedgerError, OSError."""
        if self._lock < 0:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._directory / "scribe.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segments.give_to_owner(lock, self._directory)
            except BlockingIOError:
                os.close(lock)
                return False
            except OSError:
                os.close(lock)
                raise
            self._lock = lock
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        now = self._clock.now()
        if self._here.name and not 0 <= now - self._entered < ENTER_SECONDS:
            enter(self._ledger, self._here)
            self._entered = now
        return True

    def _read(self, path: Path, data: bytes) -> _Segment:
        segment = _Segment(path, [], [])
        if data.endswith(b"\n"):
            # All at once, which takes half the time; only if that fails is each line looked at.
            with contextlib.suppress(*_UNREADABLE):
                return _Segment(path, decode_lines(data), [])
        for line, whole in segments.lines(data):
            try:
                segment.records.append(decode(line))
            except _UNREADABLE:
                if whole:
                    segment.bad.append(line)
                else:
                    self.torn += 1
        return segment

    def _take(self, batch: list[_Segment]) -> None:
        try:
            self._store(batch)
        except BAD_RECORD:
            for segment in batch:
                self._store_singly(segment)
        for segment in batch:
            with contextlib.suppress(FileNotFoundError):
                segment.path.unlink()

    def _store(self, batch: list[_Segment]) -> None:
        with self._ledger.connection() as connection:
            known = storing.taken(connection, [segment.path.name for segment in batch])
            new = [segment for segment in batch if segment.path.name not in known]
            rows = [self._row(segment.path.name) for segment in new]
            storing.insert_new(connection, tables.segment, rows)
            storing.store(connection, (record for segment in new for record in segment.records), self._here.name)
            for segment in new:
                self._reject(segment.path.name, segment.bad)
        self.told([record for segment in new for record in segment.records])
        self.stored += sum(len(segment.records) for segment in new)
        self.rejected += sum(len(segment.bad) for segment in new)

    def _store_singly(self, segment: _Segment) -> None:
        """Each record for itself, to find those that cannot be stored."""
        name = segment.path.name
        stored: list[Record] = []
        bad = list(segment.bad)
        with self._ledger.connection() as connection:
            if storing.taken(connection, [name]):
                return
            storing.insert_new(connection, tables.segment, [self._row(name)])
            for record in segment.records:
                try:
                    with connection.begin_nested():
                        storing.store(connection, [record], self._here.name)
                    stored.append(record)
                except BAD_RECORD as error:
                    log.error("a record cannot be stored: %s", type(error).__name__)
                    bad.append(encode(record))
            self._reject(name, bad)
        self.told(stored)
        self.stored += len(stored)
        self.rejected += len(bad)

    def _row(self, name: str) -> dict[str, Any]:
        return {"name": name, "taken": self._clock.now(), "node": self._here.name}

    def _reject(self, name: str, bad: list[bytes]) -> None:
        """Put lines aside. Done before the commit; done again after a crash, it writes the same file."""
        if bad:
            folder = self._directory / "rejected"
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / name).write_bytes(b"\n".join(bad) + b"\n")
            log.error("%d records cannot be stored and lie in %s", len(bad), folder / name)


def running(directory: Path) -> bool:
    """True if some process is the scribe of this journal."""
    try:
        lock = os.open(directory / "scribe.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
