"""A log file, followed: line by line, across rotation, cut lines and restarts."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import msgspec

from outbound_guard import durable

_CHUNK = 1_048_576
_LONGEST = 65_536
"""Octets of a line; longer ones are passed over."""
_HEAD = 256
"""Octets at the beginning by which a file is known again that was emptied and grew anew."""


class Position(msgspec.Struct, frozen=True):
    """How far a log has been read."""

    inode: int = 0
    offset: int = 0
    head: str = ""
    """A hash of the first octets, as soon as there are enough."""


class Follower:
    """Reads a log as it grows. Not for several threads at once."""

    def __init__(self, path: Path, position: Path, *, from_start: bool = False) -> None:
        """`position`: the file in which is kept how far it has come.

        What was in the log before it was first followed is read only with `from_start`.
        """
        self.path = path
        self.skipped = 0
        """Lines that were too long."""
        self._position_file, self._from_start = position, from_start
        self._file: BinaryIO | None = None
        self._rest = b""
        self._at = 0
        """Where the lines that were handed out end."""
        self._inode = 0
        self._head = ""
        self._skipping = False

    def begin(self) -> None:
        """Find the place from which on lines are new: what comes after this is read, whenever that is.

        Raises OSError, but not for a log that does not exist yet.
        """
        if self._file is None:
            with contextlib.suppress(FileNotFoundError):
                self._open()

    def lines(self, most: int = 10_000) -> list[tuple[str, Position]]:
        """New lines, without their ends, each with the position behind it; empty if there are none now.

        Raises OSError, for a log that does not exist as well: it may come.
        """
        if self._file is None:
            self._open()
        found: list[tuple[str, Position]] = []
        while len(found) < most:
            chunk = self._read(found)
            if not chunk and not self._next():
                break
        return found

    def keep(self, position: Position) -> None:
        """Note that all lines up to there are dealt with. Raises OSError."""
        durable.make_directories(self._position_file.parent)
        durable.write(self._position_file, [msgspec.json.encode(position)], sync=False)

    @property
    def behind(self) -> int:
        """Octets of the log that are not handed out yet."""
        try:
            stat = self.path.stat()
        except OSError:
            return 0
        return max(0, stat.st_size - self._at) if stat.st_ino == self._inode else stat.st_size

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, found: list[tuple[str, Position]]) -> bool:
        assert self._file is not None  # noqa: S101  # `lines` has opened it.
        chunk = self._file.read(_CHUNK)
        if not chunk:
            return False
        if not self._head:
            self._head = _head(self._file)
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._at += len(line) + 1
            if self._skipping or len(line) > _LONGEST:
                self.skipped += 1
                self._skipping = False
                continue
            found.append((line.decode("utf-8", "replace").rstrip("\r"), self._position()))
        if len(self._rest) > _LONGEST:
            self._at += len(self._rest)
            self._rest, self._skipping = b"", True
        return True

    def _next(self) -> bool:
        """At the end of what is there: True if there is another file to go on with."""
        assert self._file is not None  # noqa: S101
        try:
            here = self.path.stat()
        except FileNotFoundError:
            return False  # Between renaming the old one and making the new one.
        if here.st_ino != self._inode:
            if os.fstat(self._file.fileno()).st_size > self._file.tell():
                return True  # A last line was written after we looked.
            self._start(self.path, 0)
            return True
        if here.st_size < self._file.tell() or (self._head and _head(self._file) != self._head):
            # Emptied in place, as logrotate's copytruncate does.
            self._start(self.path, 0)
            return here.st_size > 0
        return False

    def _open(self) -> None:
        known = self._kept()
        try:
            here = self.path.stat()
        except FileNotFoundError:
            # Nothing was in it when it was first looked for, so all that will be is new.
            self._from_start = True
            raise
        if known is None:
            self._start(self.path, 0 if self._from_start else here.st_size)
            self.keep(self._position())
            return
        for path in (self.path, *self._siblings()):
            with contextlib.suppress(OSError):
                stat = path.stat()
                if stat.st_ino == known.inode and stat.st_size >= known.offset and _same(path, known):
                    # A rotated one is read to its end first; then `_next` turns to the one that is written now.
                    self._start(path, known.offset)
                    return
        self._start(self.path, 0)

    def _start(self, path: Path, offset: int) -> None:
        file = path.open("rb")
        self.close()
        # A last line without an end: its writer was stopped in the middle of it.
        self.skipped += bool(self._rest)
        self._file = file
        self._inode = os.fstat(file.fileno()).st_ino
        self._head = _head(file)
        file.seek(offset)
        self._at, self._rest, self._skipping = offset, b"", False

    def _siblings(self) -> list[Path]:
        """Where rotation may have put it: `mail.log.1`, `mail.log-20260704`."""
        with contextlib.suppress(OSError):
            return sorted(self.path.parent.glob(f"{self.path.name}[.-]*"))[:100]
        return []

    def _kept(self) -> Position | None:
        try:
            return msgspec.json.decode(self._position_file.read_bytes(), type=Position)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Half of it was written when the power went: what is read twice is known by its key.
            return Position()

    def _position(self) -> Position:
        return Position(self._inode, self._at, self._head)


def _head(file: BinaryIO) -> str:
    first = os.pread(file.fileno(), _HEAD, 0)
    return hashlib.blake2b(first, digest_size=8).hexdigest() if len(first) == _HEAD else ""


def _same(path: Path, known: Position) -> bool:
    if not known.head:
        return True
    with path.open("rb") as file:
        return _head(file) == known.head
