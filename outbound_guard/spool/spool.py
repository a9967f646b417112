"""The spool for programs that run on an event loop: every call works in a thread of the spool's own."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import heapq
import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.spool.entry import Corrupt, Entry, Progress, State, due_of
from outbound_guard.spool.files import STATES, Busy, Files, NotInSpool

_P = ParamSpec("_P")
_T = TypeVar("_T")
_UNREADABLE_WAIT = 60.0
"""Seconds until a message is tried again whose file the disk did not give."""

_log = logging.getLogger(__name__)


class SpoolInUse(Exception):  # noqa: N818 - the name says what the spool is
    """Another delivery process works on this spool."""


class Spool:
    """Messages at rest. Any number of processes may put, list and move; one at a time delivers (`exclusive`)."""

    def __init__(self, directory: Path, clock: Clock, free_bytes: int, threads: int = 32) -> None:
        """Open the spool in `directory`, creating it if need be.

        `free_bytes`: room on the disk that new mail leaves alone. `threads`: fsyncs that may be under way at a time.
        Raises OSError.
        """
        self.files = Files(directory, free_bytes)
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="spool")

    def close(self) -> None:
        """End the threads when what they do is done."""
        self._threads.shutdown()

    async def put(self, entry: Entry, content: Sequence[bytes], state: State, *, reserve: bool = False) -> None:
        """Keep a message; returns when it is on the disk.

        Raises SpoolFull if there is no room, OSError if the disk fails; then, and if the caller is cancelled, nothing
        stays in the spool. With `reserve` the message may use the room that `free_bytes` keeps (our own bounces).
        """

        def undo(written: Future[None]) -> None:
            if not written.cancelled() and written.exception() is None:
                # Who has taken it meanwhile keeps it: a message too many is better than one too few.
                with contextlib.suppress(OSError, NotInSpool, Busy):
                    self._remove(entry.id, state)

        await self._run(undo, self.files.put, entry, content, state, reserve=reserve)

    async def lease(self, id_: str, state: State) -> Lease:
        """Take a message to work on, until the lease is closed. Raises NotInSpool, Busy or OSError."""

        def give_back(taken: Future[Lease]) -> None:
            if not taken.cancelled() and taken.exception() is None:
                taken.result().close()

        return await self._run(give_back, self._lease, id_, state)

    async def move(self, id_: str, to: State, *, frm: State | None = None, due: float | None = None) -> Entry:
        """Move a message in one atomic, fsynced step; of two that try, one wins and the other is told.

        `due` sets the time of the next try or look (unix seconds; 0: a person decides). A message moved to `incoming`
        is due now unless `due` says otherwise, and its time in the queue starts anew. Raises NotInSpool, Busy, OSError.
        """
        return await self._run(None, self._move, id_, to, frm, due)

    async def remove(self, id_: str, *, frm: State | None = None) -> Entry:
        """Delete a message for good. Raises NotInSpool, Busy (it is being delivered right now) or OSError."""
        return await self._run(None, self._remove, id_, frm)

    async def content(self, id_: str) -> bytes:
        """The content of a message, whatever its state. Raises NotInSpool or OSError."""
        return await self._run(None, self._content, id_)

    async def find(self, id_: str) -> tuple[Entry, Progress, State]:
        """All that is known about a message. Raises NotInSpool or OSError."""
        return await self._run(None, self._find, id_)

    def entries(self, state: State) -> Iterator[Entry]:
        """All messages in a state, oldest first; blocks. Only the first line of each file is read."""
        return self.files.entries(state)

    async def counts(self) -> dict[State, int]:
        """The number of messages in each state."""
        return await self._run(None, lambda: {state: len(self.files.ids(state)) for state in STATES})

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
            self.files.tidy()
            yield

    async def claim(self, limit: int = 1000) -> list[tuple[str, float]]:
        """Move up to `limit` messages from `incoming` to `queue`; their ids and when they are due (unix seconds)."""
        return await self._run(None, self._claim, limit)

    async def ids(self, state: State) -> list[str]:
        """The ids of all messages in a state, in no order."""
        return await self._run(None, self.files.ids, state)

    async def times(self, ids: Collection[str], state: State) -> list[tuple[str, float, float]]:
        """Id, due time and time of receipt (unix seconds) of those of `ids` that are in `state`."""
        return await self._run(None, self._times, ids, state)

    async def _run(
        self, undo: Callable[[Future[_T]], None] | None, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Call in a thread. `undo` gets what the call has come to when nobody waits for it any more."""
        future = self._threads.submit(call, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if undo:
                future.add_done_callback(undo)
            raise

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

    def _claim(self, limit: int) -> list[tuple[str, float]]:
        claimed = []
        # Ids sort by time, so the oldest come first.
        for id_ in heapq.nsmallest(limit, self.files.ids("incoming")):
            try:
                file = self.files.lock(id_, "incoming")
            except (NotInSpool, Busy):
                continue
            try:
                time = self._time(id_, "incoming")
                if time:
                    # Whichever of the two directories a power cut leaves it in, it will be found.
                    self.files.move(id_, "incoming", "queue", sync=False)
                    claimed.append(time[:2])
            except OSError as error:
                # It stays in `incoming` and is tried again with the next look.
                _log.error("spool: %s cannot be claimed: %s", id_, error)
            finally:
                os.close(file)
        return claimed

    def _times(self, ids: Collection[str], state: State) -> list[tuple[str, float, float]]:
        return [time for id_ in ids if (time := self._time(id_, state))]

    def _time(self, id_: str, state: State) -> tuple[str, float, float] | None:
        try:
            entry = self.files.entry_or_none(id_, state)
            return (id_, due_of(entry, self.files.progress(id_)), entry.received) if entry else None
        except OSError as error:
            # A message that cannot be read now must not be forgotten, nor keep the others waiting.
            _log.error("spool: %s/%s cannot be read: %s", state, id_, error)
            now = self._clock.now()
            return id_, now + _UNREADABLE_WAIT, now


class Lease:
    """A message somebody works on: nobody else can move, remove or deliver it until `close`."""

    def __init__(self, spool: Spool, file: int, state: State, entry: Entry, progress: Progress, content: bytes) -> None:
        self._spool = spool
        self._file = file
        self.state = state
        self.entry = entry
        self.progress = progress
        self.content = content

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the message back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def save(self, progress: Progress) -> None:
        """Note how far the message has come. Raises OSError."""
        await self._spool._run(None, self._spool.files.save, self.entry.id, progress)
        self.progress = progress

    async def move(self, to: State) -> None:
        """Move the message in one atomic, fsynced step. Raises OSError."""
        await self._spool._run(None, self._spool.files.move, self.entry.id, self.state, to)
        self.state = to

    async def remove(self) -> None:
        """Delete the message for good. Raises OSError."""
        await self._spool._run(None, self._spool.files.remove, self.entry.id, self.state)
