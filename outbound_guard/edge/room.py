"""Room for messages: how many octets of them the sessions of a process may hold, and where large ones wait.

Small messages stay in memory while they arrive. What grows beyond `LARGE` goes to disk, into a file without a name that
vanishes with the process, and is read back when it is this message's turn: as many are worked on at a time as fit into
the budget. Beyond the budget new messages are answered 452, and those that arrive already go to disk at any size.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from outbound_guard.edge.data import DataReader

_COPIES = 3
"""A large message stands in memory so many times at most: as it came, without fields, and in wire form with dots."""
_LOOK = 16_777_216
"""Octets written between two looks at the free disk."""
_PATIENCE = 120.0
"""Seconds a large message waits for its turn; clients give up after some minutes (RFC 5321 4.5.3.2.6 asks for ten)."""


class Full(Exception):  # noqa: N818 - it says how things are, not that something broke.
    """No room for this message now."""


class Room:
    """The budget of one process. Everything is called from its event loop."""

    def __init__(self, most: int, folder: Path | None = None, free_bytes: int = 0) -> None:
        """`most`: octets of messages in memory. `folder`: for what arrives and is large; None: nothing goes to disk.

        `free_bytes`: octets of disk that stay free.
        """
        self.most, self.folder, self._free_bytes = most, folder, free_bytes
        self.used = 0
        """Octets of messages in memory, the copies of large ones included."""
        self.on_disk = 0
        """Octets that arrive and lie on disk."""
        self._large = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def over(self) -> bool:
        """True if no further message is to begin."""
        return self.used >= self.most

    def file(self) -> Overflow:
        """A file for a message that arrives. Raises OSError."""
        return Overflow(self, self.folder)

    async def turn(self, size: int) -> int:
        """Wait until a large message of `size` octets may be worked on; returns what is charged until `leave`.

        Raises Full if that takes too long.
        """
        cost = size * _COPIES
        if self._waiting or not self._fits(cost):
            future = asyncio.get_running_loop().create_future()
            waiting = cost, future
            self._waiting.append(waiting)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await future
            except BaseException as error:
                if future.done() and not future.cancelled():
                    self.leave(cost)
                else:
                    # In the turn of the loop in which the time was over, `_next` may have passed it by already.
                    with contextlib.suppress(ValueError):
                        self._waiting.remove(waiting)
                    self._next()
                if isinstance(error, TimeoutError):
                    raise Full from error
                raise
        else:
            self._charge(cost)
        return cost

    def leave(self, cost: int) -> None:
        """A large message is done with."""
        self.used -= cost
        self._large -= 1
        self._next()

    def _fits(self, cost: int) -> bool:
        # A message that exceeds the budget by itself is worked on alone.
        return not self._large or self.used + cost <= self.most

    def _charge(self, cost: int) -> None:
        self.used += cost
        self._large += 1

    def _next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            cost, future = self._waiting.popleft()
            if not future.done():
                self._charge(cost)
                future.set_result(None)

    def look(self) -> None:
        """Raises Full if the disk has no room for messages that arrive."""
        if self.folder is None:
            return
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize < self._free_bytes:
            raise Full


@contextlib.asynccontextmanager
async def brought_back(reader: DataReader, room: Room) -> AsyncIterator[bytes]:
    """The content of a large message, which was written to disk, when it is its turn to be in memory as a whole.

    Raises Full, OSError.
    """
    cost = await room.turn(reader.size)
    try:
        content = await asyncio.to_thread(reader.from_disk)
        reader.close()
        yield content
    finally:
        room.leave(cost)


class Overflow:
    """What of one message has gone to disk."""

    def __init__(self, room: Room, folder: Path | None) -> None:
        room.look()
        self._room = room
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- closed by `close`
        self.size = 0
        self._looked = 0

    def write(self, octets: bytes | bytearray) -> None:
        """Add octets. Raises OSError and Full."""
        if self.size - self._looked > _LOOK:
            self._room.look()
            self._looked = self.size
        view = memoryview(octets)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(octets)
        self._room.on_disk += len(octets)

    def read(self, octets: int) -> bytes:
        """The first octets, all at once; for a thread. Raises OSError."""
        self._file.seek(0)
        # One read of a raw file gives at most 2 GB, and may give less.
        content = self._file.read(octets)
        while len(content) < octets:
            more = self._file.read(octets - len(content))
            if not more:
                raise OSError("the file of an arriving message is shorter than what was written")
            content += more
        return content

    def close(self) -> None:
        """Give the disk back; may be called twice."""
        if not self._file.closed:
            self._file.close()
            self._room.on_disk -= self.size
