"""The spool for programs that run on an event loop: every call works in a thread of the spool's own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import heapq
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.spool.entry import Corrupt, Entry, Progress, Seen, State
from outbound_guard.spool.files import STATES, Busy, Files, New, NotInSpool
from outbound_guard.spool.together import Together, attempt

_P = ParamSpec("_P")
_T = TypeVar("_T")
_UNSYNCED = 100
"""Deletions that may be on their way to the disk at a time: a loss of power could bring so many messages back."""
_READING = 4
"""Threads that take messages up at a time."""
_WRITING, _AT_ONCE = 8, 4
"""Threads that write new messages, and messages that one writes one after the other, so that a slow disk is busy."""
_LARGE = 262_144
"""Octets; no other waits while such a message is written."""
_NOTHING = Progress()

_log = logging.getLogger(__name__)


class SpoolInUse(Exception):  # noqa: N818 - the name says what the spool is
    """Another delivery process works on this spool."""


class Spool:
    """Messages at rest. Any number of processes may put, list and move; one at a time delivers (`exclusive`)."""

    def __init__(self, directory: Path, clock: Clock, free_bytes: int, threads: int = 16) -> None:
        """Open the spool in `directory`, creating it if need be.

        `free_bytes`: room on the disk that new mail leaves alone. `threads`: fsyncs that may be under way at a time.
        Raises OSError.
        """
        self.files = Files(directory, free_bytes)
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="spool")
        self._putting = Together(self._threads, self.files.put_all, threads=_WRITING, most=_AT_ONCE)
        self._putting_large = Together(self._threads, self.files.put_all, threads=_WRITING, most=1)
        self._leasing = Together(self._threads, self._lease_all, threads=_READING)
        self._removing = Together(self._threads, self._remove_all, most=64)
        self._counting = threading.Lock()
        self._removed: Counter[State] = Counter()
        # So many of those are on the disk.
        self._synced: Counter[State] = Counter()
        self._syncing: set[State] = set()

    def close(self) -> None:
        """End the threads when what they do is done."""
        self._threads.shutdown()

    async def put(self, entry: Entry, content: Sequence[bytes], state: State, *, reserve: bool = False) -> None:
        """Keep a message; returns when it is on the disk.

        Raises SpoolFull if there is no room, OSError if the disk fails; then, and if the caller is cancelled, nothing
        stays in the spool. With `reserve` the message may use the room that `free_bytes` keeps (our own bounces).
        """

        message = New(entry, content, state, reserve)
        putting = self._putting if sum(map(len, content)) < _LARGE else self._putting_large
        await putting.call(message, lambda _: self._give_up(message))

    async def lease(self, id_: str, state: State) -> Lease:
        """Take a message to work on, until the lease is closed. Raises NotInSpool, Busy or OSError."""

        def give_back(taken: Lease) -> None:
            taken.close()

        return await self._leasing.call((id_, state), give_back)

    async def move(self, id_: str, to: State, *, frm: State | None = None, due: float | None = None) -> Entry:
        """Move a message in one atomic, fsynced step; of two that try, one wins and the other is told.

        `due` sets the time of the next try or look (unix seconds; 0: a person decides). A message moved to `incoming`
        is due now unless `due` says otherwise, and its time in the queue starts anew. Raises NotInSpool, Busy, OSError.
        """
        return await self._run(self._move, id_, to, frm, due)

    async def remove(self, id_: str, *, frm: State | None = None) -> Entry:
        """Delete a message for good. Raises NotInSpool, Busy (it is being delivered right now) or OSError."""
        return await self._run(self._remove, id_, frm)

    async def content(self, id_: str) -> bytes:
        """The content of a message, whatever its state. Raises NotInSpool or OSError."""
        return await self._run(self._content, id_)

    async def find(self, id_: str) -> tuple[Entry, Progress, State]:
        """All that is known about a message. Raises NotInSpool or OSError."""
        return await self._run(self._find, id_)

    def entries(self, state: State) -> Iterator[Entry]:
        """All messages in a state, oldest first; blocks. Only the first line of each file is read."""
        return self.files.entries(state)

    async def counts(self) -> dict[State, int]:
        """The number of messages in each state."""
        return await self._run(lambda: {state: self.files.count(state) for state in STATES})

    # What follows is for the delivery process.

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Be the delivery process: nobody else can while this lasts. Raises SpoolInUse.

        What a dead delivery process had claimed lies in `queue` and is simply found there.
        """
        with open(self.files.directory / "delivery.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolInUse(f"another delivery process works on {self.files.directory}") from None
            yield

    async def tidy(self) -> None:
        """Delete what the dead have left behind: unfinished files, progress of messages that are gone."""
        await self._run(self.files.tidy)

    async def claim(self, limit: int = 1000) -> list[Seen]:
        """Move up to `limit` messages from `incoming` to `queue`; what they are."""
        return await self._run(self._claim, limit)

    async def ids(self, state: State) -> list[str]:
        """The ids of all messages in a state, in no order."""
        return await self._run(self.files.ids, state)

    async def noted(self) -> frozenset[str]:
        """The ids of which a progress was noted, some of them long gone. Raises OSError."""
        return await self._run(self.files.noted)

    async def seen(self, ids: Collection[str], state: State, noted: Collection[str] | None = None) -> list[Seen]:
        """Those of `ids` that are in `state`; only the first lines of their files are read.

        `noted`: the ids that may have a progress; None: all.
        """
        return await self._run(self._seen_all, ids, state, noted)

    async def _run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call in a thread."""
        return await asyncio.wrap_future(self._threads.submit(call, *args, **kwargs))

    def _give_up(self, message: New) -> None:
        try:
            self._threads.submit(self._take_back, message)
        except RuntimeError:
            # At the very end there are no threads any more.
            self._take_back(message)

    def _take_back(self, message: New) -> None:
        """Nobody waits any more for it to be kept, so it must not stay."""
        # Who has taken it meanwhile keeps it: a message too many is better than one too few.
        with contextlib.suppress(OSError, NotInSpool, Busy):
            self._remove(message.entry.id, message.state)

    def _lease(self, id_: str, state: State) -> Lease:
        file = self.files.lock(id_, state)
        try:
            entry, content = self.files.read(file, id_)
            return Lease(self, file, state, entry, self.files.progress(id_), content)
        except Corrupt as error:
            self.files.set_aside(id_, state, error)
            os.close(file)
            raise NotInSpool(id_) from error
        except BaseException:
            os.close(file)
            raise

    def _lease_all(self, wanted: Sequence[tuple[str, State]]) -> list[Lease | Exception]:
        return [attempt(self._lease, id_, state) for id_, state in wanted]

    def _remove_all(self, leases: Sequence[Lease]) -> list[Exception | None]:
        """Delete messages. The fsync for all follows, and is waited for if too many deletions wait for it."""
        done = [attempt(one.unlink) for one in leases]
        for state in {one.state for one in leases}:
            failed = attempt(self._sync_soon, state, len(leases))
            if failed is not None:
                done = [failed if one.state == state else known for one, known in zip(leases, done, strict=True)]
        return done

    def _sync_soon(self, state: State, number: int) -> None:
        with self._counting:
            self._removed[state] += number
            waits = self._removed[state] - self._synced[state] > _UNSYNCED
            starts = not waits and state not in self._syncing
            if starts:
                self._syncing.add(state)
        if waits:
            self._sync(state)
        elif starts:
            self._threads.submit(self._sync_until_done, state)

    def _sync(self, state: State) -> None:
        with self._counting:
            removed = self._removed[state]
        self.files.sync(state)
        with self._counting:
            self._synced[state] = max(self._synced[state], removed)

    def _sync_until_done(self, state: State) -> None:
        while True:
            failed = False
            try:
                self._sync(state)
            except OSError as error:
                # The next deletion tries it again; a loss of power now would bring messages back.
                _log.error("spool: deletions in %s may not be on the disk: %s", state, error)
                failed = True
            with self._counting:
                if failed or self._synced[state] == self._removed[state]:
                    self._syncing.discard(state)
                    return

    def _move(self, id_: str, to: State, frm: State | None, due: float | None) -> Entry:
        now = self._clock.now()
        if to == "incoming" and due is None:
            due = now
        with self._lease(id_, frm or self.files.state_of(id_)) as message:
            if due is not None:
                since = now if to == "incoming" else message.progress.since
                progress = msgspec.structs.replace(message.progress, due=due, since=since)
                # First the time, then the rename: the other way round the delivery process could miss it.
                self.files.save(id_, progress)
            if message.state != to:
                self.files.move(id_, message.state, to)
            return message.entry

    def _remove(self, id_: str, frm: State | None) -> Entry:
        with self._lease(id_, frm or self.files.state_of(id_)) as message:
            self.files.remove(id_, message.state)
            return message.entry

    def _content(self, id_: str) -> bytes:
        try:
            with open(self.files.path(id_, self.files.state_of(id_)), "rb") as stream:
                return self.files.read(stream.fileno(), id_)[1]
        except (FileNotFoundError, Corrupt) as error:
            raise NotInSpool(id_) from error

    def _find(self, id_: str) -> tuple[Entry, Progress, State]:
        state = self.files.state_of(id_)
        entry = self.files.entry_or_none(id_, state)
        if entry is None:
            raise NotInSpool(id_)
        return entry, self.files.progress(id_), state

    def _claim(self, limit: int) -> list[Seen]:
        claimed: list[Seen] = []
        # Ids sort by time, so the oldest come first.
        for id_ in heapq.nsmallest(limit, self.files.ids("incoming")):
            try:
                # Whether it is still there the move will tell.
                file = self.files.lock(id_, "incoming", sure=False)
            except (NotInSpool, Busy):
                continue
            try:
                seen = self._seen(id_, "incoming", file)
                if seen:
                    # Whichever of the two directories a power cut leaves it in, it will be found.
                    self.files.move(id_, "incoming", "queue", sync=False)
                    claimed.append(seen)
            except FileNotFoundError:
                continue
            except OSError as error:
                # It stays in `incoming` and is tried again with the next look.
                _log.error("spool: %s cannot be claimed: %s", id_, error)
            finally:
                os.close(file)
        return claimed

    def _seen_all(self, ids: Collection[str], state: State, noted: Collection[str] | None) -> list[Seen]:
        found = (self._seen(id_, state, noted=noted is None or id_ in noted) for id_ in ids)
        return [seen for seen in found if seen]

    def _seen(self, id_: str, state: State, file: int | None = None, *, noted: bool = True) -> Seen | None:
        """What a message is, read from `file` if it is open; None if it has vanished or is broken."""
        try:
            entry = self.files.entry_or_none(id_, state, file)
            return Seen(id_, entry, self.files.progress(id_) if noted else _NOTHING) if entry else None
        except OSError as error:
            # A message that cannot be read now must not be forgotten, nor keep the others waiting.
            _log.error("spool: %s/%s cannot be read: %s", state, id_, error)
            return Seen(id_, None, _NOTHING)


class Lease:
    """A message somebody works on: nobody else can move, remove or deliver it until `close`."""

    def __init__(self, spool: Spool, file: int, state: State, entry: Entry, progress: Progress, content: bytes) -> None:
        self._spool = spool
        self._file = file
        self.state = state
        self.entry = entry
        self.progress = progress
        self.content = content
        self.noted = progress != _NOTHING
        """True if a progress was noted."""
        self._removing = self._given_back = False

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the message back; one that is being removed, when that has ended."""
        if self._removing:
            # Its caller may have been broken off, but a thread is about to delete it: nobody else may take it now.
            self._given_back = True
            return
        file, self._file = self._file, -1
        # One that is broken off is closed while a thread may be about to do the same.
        if file >= 0:
            os.close(file)

    def unlink(self) -> None:
        """Delete the message; blocks, and is not safe before its directory is fsynced. Raises OSError."""
        try:
            self._spool.files.unlink(self.entry.id, self.state, noted=self.noted)
        except OSError:
            self._removing = False
            if self._given_back:
                self.close()
            raise
        self._removing = False
        # It is the last close of a deleted file that frees its blocks, which may wait for the disk.
        self.close()

    async def save(self, progress: Progress) -> None:
        """Note how far the message has come. Raises OSError."""
        self.noted = True
        await self._spool._run(self._spool.files.save, self.entry.id, progress)
        self.progress = progress

    async def move(self, to: State) -> None:
        """Move the message in one atomic, fsynced step. Raises OSError."""
        await self._spool._run(self._spool.files.move, self.entry.id, self.state, to)
        self.state = to

    async def remove(self) -> None:
        """Delete the message for good; its deletion is on the disk a moment later. Raises OSError."""
        self._removing = True
        await self._spool._removing.call(self)
