"""The spool as files: one directory a state, one file a message. Everything here blocks.

A message's state is the directory it lies in, so that one rename moves it. Whoever works on a message holds the
lock (flock) of its file; the kernel gives the lock back when a process dies, so nothing stays claimed by the dead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from outbound_guard import durable
from outbound_guard.spool.entry import (
    Corrupt,
    Entry,
    Progress,
    State,
    decode_entry,
    decode_progress,
    encode_entry,
    encode_progress,
)
from outbound_guard.spool.together import attempt

STATES: tuple[State, ...] = get_args(State)
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_LONGEST_LINE = 16_777_216
_FIRST_LINE, _SMALL = 8192, 65_536
"""Octets of a file that are asked for first, for its first line and for all of it: mostly there are no more."""
_OLD = 3600.0
"""Seconds after which an unfinished file has no writer any more."""
_LOOK_AGAIN, _NEARLY_FULL = 1.0, 268_435_456
"""Seconds for which it is believed how much of the disk is free, unless only so many octets are left for new mail."""

_log = logging.getLogger(__name__)


class SpoolFull(OSError):  # noqa: N818 - the name says what has happened
    """There is no room for the message: the client is to keep it (452)."""


class NotInSpool(LookupError):  # noqa: N818 - the name says what has happened
    """There is no such message in that state (any more)."""


class Busy(Exception):  # noqa: N818 - the name says what the message is
    """Another process is working on this message right now."""


class New(NamedTuple):
    """A message that is to be kept."""

    entry: Entry
    content: Sequence[bytes]
    state: State
    reserve: bool
    """It may use the room that `free_bytes` keeps."""


class Files:
    """The directories and files of one spool."""

    def __init__(self, directory: Path, free_bytes: int) -> None:
        """Create the directories that are missing. `free_bytes` is the room on the disk that new mail leaves alone."""
        self.directory = directory
        self._free_bytes = free_bytes
        self._free, self._looked = 0, -_LOOK_AGAIN
        """Octets that were free when the disk was asked last (seconds of the monotonic clock)."""
        self._states = {state: directory / state for state in STATES}
        self._temporary = directory / "tmp"
        self._progress = directory / "progress"
        self._corrupt = directory / "corrupt"
        self._prefixes = {state: f"{path}{os.sep}" for state, path in self._states.items()}
        self._progress_prefix = f"{self._progress}{os.sep}"
        durable.make_directories(directory, *self._states.values(), self._temporary, self._progress, self._corrupt)

    def path(self, id_: str, state: State) -> Path:
        """The file of a message. Raises NotInSpool for what cannot be an id, such as a path."""
        if not _ID.fullmatch(id_):
            raise NotInSpool(id_)
        return self._states[state] / id_

    def _name(self, id_: str, state: State) -> str:
        """`path` as a text, for what is done for every message."""
        if not _ID.fullmatch(id_):
            raise NotInSpool(id_)
        return f"{self._prefixes[state]}{id_}"

    def put_all(self, messages: Sequence[New]) -> list[Exception | None]:
        """Write messages; returns when all are on the disk. For each None, or SpoolFull or OSError: it is not there."""
        done = [attempt(self._place, message) for message in messages]
        for state in {message.state for message, error in zip(messages, done, strict=True) if error is None}:
            failed = attempt(durable.sync_directory, self._states[state])
            if failed is None:
                continue
            for place, message in enumerate(messages):
                if message.state == state and done[place] is None:
                    # The caller will not say 250, so the message must not stay.
                    with contextlib.suppress(OSError):
                        os.unlink(self._name(message.entry.id, state))
                    done[place] = failed
        return [self._in_full(error) for error in done]

    def _place(self, message: New) -> None:
        size = sum(map(len, message.content))
        if not message.reserve and not self._has_room(size):
            raise SpoolFull(errno.ENOSPC, "less than spool.free_bytes are free", str(self.directory))
        line = encode_entry(msgspec.structs.replace(message.entry, size=size))
        path = self._name(message.entry.id, message.state)
        durable.place(path, (line, *message.content), temporary=self._temporary)

    def _has_room(self, size: int) -> bool:
        """True if the disk has room for so many octets besides `free_bytes`; far from that it is asked now and then."""
        now, wanted = time.monotonic(), self._free_bytes + size
        if not now - self._looked < _LOOK_AGAIN or self._free < wanted + _NEARLY_FULL:
            disk = os.statvfs(self.directory)
            self._free, self._looked = disk.f_bavail * disk.f_frsize, now
        self._free -= size
        return self._free >= self._free_bytes

    def _in_full(self, error: Exception | None) -> Exception | None:
        """The same error, or SpoolFull if it says that there is no room."""
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return SpoolFull(error.errno, error.strerror, str(self.directory))
        return error

    def lock(self, id_: str, state: State, *, sure: bool = True) -> int:
        """Open a message's file and take its lock; closing the descriptor gives it back. Raises NotInSpool, Busy.

        With `sure=False` it may have been moved or removed an instant before; the next rename of it says so.
        """
        path = self._name(id_, state)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotInSpool(id_) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been moved or removed between opening and locking.
            if sure and not os.path.samestat(os.stat(path), os.fstat(file)):
                raise NotInSpool(id_)
        except BaseException as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                raise Busy(id_) from None
            if isinstance(error, FileNotFoundError):
                raise NotInSpool(id_) from None
            raise
        return file

    def read(self, file: int, id_: str) -> tuple[Entry, bytes]:
        """Entry and content from an open message file. Raises Corrupt or OSError."""
        data = _read(file)
        end = data.find(b"\n") + 1
        return decode_entry(data[:end], id_, len(data)), data[end:]

    def read_entry(self, id_: str, state: State) -> Entry:
        """The entry of a message; only the first line is read. Raises NotInSpool, Corrupt or OSError."""
        try:
            file = os.open(self._name(id_, state), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotInSpool(id_) from None
        try:
            return self.first_line(file, id_)
        finally:
            os.close(file)

    def first_line(self, file: int, id_: str) -> Entry:
        """The entry from an open message file, of which no more is read. Raises Corrupt or OSError."""
        data, whole = b"", False
        while (end := data.find(b"\n") + 1) == 0 and len(data) < _LONGEST_LINE and not whole:
            wanted = max(_FIRST_LINE, len(data))
            more = os.pread(file, wanted, len(data))
            whole = len(more) < wanted
            data += more
        return decode_entry(data[:end] if end else data, id_, len(data) if whole else os.fstat(file).st_size)

    def move(self, id_: str, frm: State, to: State, *, sync: bool = True) -> None:
        """Move a message whose lock the caller holds. Raises OSError."""
        durable.move(self._name(id_, frm), self._name(id_, to), sync=sync)

    def remove(self, id_: str, state: State) -> None:
        """Delete a message whose lock the caller holds, and its progress. Raises OSError."""
        self.unlink(id_, state)
        self.sync(state)

    def unlink(self, id_: str, state: State, *, noted: bool = True) -> None:
        """`remove` that is not safe yet: `sync` makes it so. `noted`: it may have a progress."""
        os.unlink(self._name(id_, state))
        # A progress without a message means nothing, so it needs no fsync.
        if noted:
            with contextlib.suppress(OSError):
                os.unlink(f"{self._progress_prefix}{id_}")

    def sync(self, state: State) -> None:
        """Return when all that was done in a state's directory is on the disk. Raises OSError."""
        durable.sync_directory(self._states[state])

    def set_aside(self, id_: str, state: State, why: Exception) -> None:
        """Move a broken file to `corrupt/`, where a person can look at it, and say so in the log."""
        _log.error("spool: %s/%s is broken and now lies in %s: %s", state, id_, self._corrupt, why)
        with contextlib.suppress(OSError):
            durable.move(self.path(id_, state), self._corrupt / id_)

    def progress(self, id_: str) -> Progress:
        """How far a message has come; an empty Progress if nothing has been noted. Raises OSError."""
        try:
            file = os.open(f"{self._progress_prefix}{id_}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Progress()
        try:
            return decode_progress(_read(file))
        except Corrupt as error:
            # To deliver a recipient again is better than to lose one.
            _log.error("spool: %s starts from the beginning: %s", id_, error)
            return Progress()
        finally:
            os.close(file)

    def noted(self) -> frozenset[str]:
        """The ids of which a progress was noted, some of them long gone."""
        return frozenset(os.listdir(self._progress))

    def save(self, id_: str, progress: Progress) -> None:
        """Note how far a message has come. Raises OSError.

        As long as nothing is settled for any recipient, nor its time in the queue begun anew, a power cut can only
        cost the time of the next try; then nothing is fsynced.
        """
        settled = progress.remaining is not None or bool(progress.failed or progress.since)
        path = self._progress / id_
        durable.write(path, (encode_progress(progress),), temporary=self._temporary, sync=settled)

    def progress_marks(self) -> dict[str, int]:
        """For each message whose progress was noted a number that changes with it. Raises OSError."""
        marks = {}
        with os.scandir(self._progress) as found:
            for item in found:
                with contextlib.suppress(FileNotFoundError):
                    stat = item.stat(follow_symlinks=False)
                    # Each is a new file; two within one tick of the clock differ by their place on the disk.
                    marks[item.name] = stat.st_mtime_ns + stat.st_ino
        return marks

    def ids(self, state: State) -> list[str]:
        """The ids of all messages in a state, in no order."""
        return [name for name in os.listdir(self._states[state]) if _ID.fullmatch(name)]

    def entries(self, state: State) -> Iterator[Entry]:
        """All messages in a state, oldest first. Files that vanish are passed over, broken ones set aside."""
        for id_ in sorted(self.ids(state)):
            entry = self.entry_or_none(id_, state)
            if entry is not None:
                yield entry

    def entry_or_none(self, id_: str, state: State, file: int | None = None) -> Entry | None:
        """The entry of a message (whose file may be open), or None if it has vanished, or is broken and set aside."""
        try:
            return self.read_entry(id_, state) if file is None else self.first_line(file, id_)
        except NotInSpool:
            return None
        except Corrupt as error:
            self.set_aside(id_, state, error)
            return None

    def state_of(self, id_: str) -> State:
        """The state a message is in. Raises NotInSpool."""
        # Twice, since it may move from a directory not yet looked at to one already seen.
        for state in STATES * 2:
            if self.path(id_, state).exists():
                return state
        raise NotInSpool(id_)

    def tidy(self) -> None:
        """Delete unfinished files whose writer has died, and progress of messages that are gone."""
        self._delete_old(self._temporary, lambda name: True)
        self._delete_old(self._progress, lambda name: not self._known(name))

    def _known(self, id_: str) -> bool:
        # Twice, since it may move from a directory not yet looked at to one already seen.
        return any(os.path.exists(f"{self._prefixes[state]}{id_}") for state in STATES * 2)

    def count(self, state: State) -> int:
        """The number of messages in a state."""
        return len(os.listdir(self._states[state]))

    @staticmethod
    def _delete_old(directory: Path, unwanted: Callable[[str], bool]) -> None:
        # A file's age is a matter of the file system, whatever clock the mail runs on.
        limit = time.time() - _OLD
        with os.scandir(directory) as found:
            for item in found:
                with contextlib.suppress(OSError):
                    if item.stat(follow_symlinks=False).st_mtime < limit and unwanted(item.name):
                        os.unlink(item.path)


def _read(file: int) -> bytes:
    """All of an open file; less if it has become shorter meanwhile."""
    data = os.pread(file, _SMALL, 0)
    if len(data) < _SMALL:
        return data
    size = os.fstat(file).st_size
    data = os.pread(file, size, 0)
    while len(data) < size and (more := os.pread(file, size - len(data), len(data))):
        data += more
    return data
