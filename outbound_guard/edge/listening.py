"""Taking connections from a socket that several processes listen on, so that each gets its share."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sized

_FEW = 4
"""Sessions with which a process takes the next connection at once."""
_MORE = 64
"""Sessions for which it waits a millisecond longer."""
_LONGEST = 2
"""Milliseconds that it waits at most: a connection costs that much delay where all processes are busy."""
_NO_DESCRIPTORS = 1.0
"""Seconds until it is tried again when the process or the machine has no descriptors left."""

_log = logging.getLogger(__name__)


class Listening:
    """One listening socket of a process, until `close`.

    The kernel wakes every process that waits for a connection, and whoever runs first takes it; a mail server that
    opens twenty connections at once then often finds all of them at one process, while the others have nothing to do.
    So a process with some sessions leaves a connection to the others for a moment before it takes it. Nobody counts
    what the others have, and one that hangs keeps no connection waiting for longer than that.
    """

    def __init__(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], sessions: Sized) -> None:
        """Listen from now on; `listening` does not block and is ours now. `sessions` are those of the process."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._sessions = sessions
        self._waiting: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[object]] = set()
        self._loop.add_reader(listening, self._readable)

    def close(self) -> None:
        """Take no more; connections that nobody has taken stay for the other processes."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _readable(self) -> None:
        number = len(self._sessions) + len(self._opening)
        if number < _FEW:
            self._take()
        else:
            self._rest(min(1 + number // _MORE, _LONGEST) / 1000)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._waiting = self._loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._listening, self._readable)
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            # Another process has taken it, or its client has gone.
            return
        except OSError as error:
            # It stays in the kernel's queue: without the pause the loop would spin on it.
            _log.error("no connection can be taken for now: %s", error)
            self._rest(_NO_DESCRIPTORS)
            return
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            return
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()
