"""The least that a relay in Python costs here: it takes mail and passes it on, and looks at nothing.

`scripts/bench` prints it beside the product, so that the product's figure can be read on any machine: the distance
between the two is what it costs to judge, remember and record, and no change to those brings the product below this. It
is one `asyncio.Protocol` a side on uvloop, answers of a turn in one write, MAIL, RCPT and DATA in one write to the next
hop. Nothing is there that a relay on the open network needs: no limits, no time-outs, no TLS, and an answer of the next
hop that is not the expected one is handed to the client as it is.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

NAME = "a relay that looks at nothing"
_PATH = re.compile(rb":\s*<([^>]*)>")
_END = b"\r\n.\r\n"


class _Outgoing(asyncio.Protocol):
    """A connection to the next hop, one message at a time."""

    def __init__(self, ready: asyncio.Future[_Outgoing]) -> None:
        self._ready, self._buffer, self._replies = ready, b"", 1
        self._whose: _Incoming | None = None
        self._content = b""
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        lines = (self._buffer + data).split(b"\r\n")
        self._buffer = lines.pop()
        for line in lines:
            if line[3:4] == b"-":
                continue
            self._replies -= 1
            if self._replies == 0:
                self._done(line)

    def carry(self, whose: _Incoming, sender: bytes, recipients: list[bytes], content: bytes) -> None:
        """Pass a message on, dots stuffed and ended, and tell `whose` session when it is answered."""
        self._whose, self._content, self._replies = whose, content, 2 + len(recipients)
        paths = b"".join([b"RCPT TO:<%b>\r\n" % recipient for recipient in recipients])
        self._transport.write(b"MAIL FROM:<%b>\r\n%bDATA\r\n" % (sender, paths))

    def _done(self, line: bytes) -> None:
        if not self._greeted:
            self._greeted, self._replies = True, 1
            self._transport.write(b"EHLO floor.example\r\n")
        elif self._whose is None:
            self._ready.set_result(self)
        elif self._content:
            self._transport.write(self._content)
            self._content, self._replies = b"", 1
        else:
            whose, self._whose = self._whose, None
            whose.answered(self, line)


class _Incoming(asyncio.Protocol):
    """A session of a client."""

    def __init__(self, port: int, idle: list[_Outgoing]) -> None:
        self._port, self._idle, self._buffer, self._in_data = port, idle, bytearray(), False
        self._sender, self._recipients = b"", list[bytes]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(b"220 floor.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        seen = max(len(buffer) - len(_END), 0)
        buffer += data
        if self._in_data:
            self._content(seen)
            return
        replies = []
        while not self._in_data and (end := buffer.find(b"\r\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            replies.append(self._obey(line))
        self._transport.write(b"".join(replies))
        if self._in_data and buffer:
            self._content(0)

    def _obey(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"MAIL" and (path := _PATH.search(line)):
            self._sender, self._recipients = path[1], []
        elif verb == b"RCPT" and (path := _PATH.search(line)):
            self._recipients.append(path[1])
        elif verb == b"DATA":
            self._in_data = True
            return b"354 go on\r\n"
        elif verb == b"EHLO":
            return b"250-floor.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        return b"250 ok\r\n"

    def _content(self, seen: int) -> None:
        end = self._buffer.find(_END, seen)
        if end < 0:
            return
        content = bytes(self._buffer[: end + len(_END)])
        del self._buffer[: end + len(_END)]
        self._in_data = False
        if self._idle:
            self._idle.pop().carry(self, self._sender, self._recipients, content)
        else:
            self._connecting = asyncio.ensure_future(self._by_a_new_one(content))

    async def _by_a_new_one(self, content: bytes) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[_Outgoing] = loop.create_future()
        await loop.create_connection(lambda: _Outgoing(ready), "127.0.0.1", self._port)
        (await ready).carry(self, self._sender, self._recipients, content)

    def answered(self, by: _Outgoing, line: bytes) -> None:
        """Hand the next hop's answer on, and the connection back."""
        self._idle.append(by)
        self._transport.write(line + b"\r\n")


async def _serve(listening: socket.socket, port: int) -> None:
    idle: list[_Outgoing] = []
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with await loop.create_server(lambda: _Incoming(port, idle), sock=listening):
        await stop.wait()


@contextmanager
def running(sink_port: int, processes: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Start it before the next hop at this port of the loopback: its own port, and its processes by name."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        command = [sys.executable, "-m", "benchmarks.floor", str(listening.fileno()), str(sink_port)]
        started = [subprocess.Popen(command, pass_fds=[listening.fileno()]) for _ in range(processes)]
        try:
            yield listening.getsockname()[1], {f"relay-{n}": one.pid for n, one in enumerate(started, 1)}
        finally:
            for one in started:
                one.terminate()
            for one in started:
                one.wait()


if __name__ == "__main__":
    uvloop.run(_serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
