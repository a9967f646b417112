"""The demo's next hop: an SMTP server on loopback that answers as the world would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from outbound_guard.demo import receivers
from outbound_guard.reply import Reply

_LONGEST = 1 << 20
"""Octets of a line."""

Taken = Callable[[tuple[str, ...], bytes, str], None]
"""Told of a message that was taken: its recipients, its content, and the address of ours that it came from."""


class NextHop:
    """The server: `start`, then it has an `address`, then `stop`."""

    def __init__(self, taken: Taken, listed: Collection[str]) -> None:
        """`listed`: addresses of ours that receivers refuse; it may change while the server runs."""
        self.address = ""
        """HOST:PORT, once it listens."""
        self._taken, self._listed = taken, listed
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_LONGEST)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())

    async def stop(self) -> None:
        """Stop listening and break the sessions off."""
        if self._server is not None:
            self._server.close()
        for task in (sessions := list(self._sessions)):
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._session(reader, writer))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, ValueError):
                await self._dialogue(reader, writer)
        finally:
            writer.close()

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str(writer.get_extra_info("peername")[0])
        writer.write(b"220 world.example ESMTP\r\n")
        recipients: list[str] = []
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-world.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n")
                writer.write(b"250 ENHANCEDSTATUSCODES\r\n")
            elif verb == b"RCPT":
                recipient = line.partition(b"<")[2].partition(b">")[0].decode("utf-8", "replace")
                reply = receivers.to_recipient(recipient, source, self._listed)
                recipients += [recipient] if reply.accepted else []
                writer.write(reply.wire())
            elif verb == b"DATA":
                reply = await self._data(reader, writer, tuple(recipients), source)
                recipients = []
                writer.write(reply.wire())
            elif verb == b"QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                await writer.drain()
                return
            else:
                recipients = recipients if verb == b"NOOP" else []
                writer.write(b"250 2.0.0 Ok\r\n")
            await writer.drain()

    async def _data(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recipients: tuple[str, ...], source: str
    ) -> Reply:
        if not recipients:
            return Reply(554, "5.5.1", "no valid recipients")
        writer.write(b"354 go ahead\r\n")
        lines: list[bytes] = []
        while (line := await reader.readline()) != b".\r\n":
            if not line:
                raise EOFError
            lines.append(line[1:] if line.startswith(b".") else line)
        content = b"".join(lines)
        replies = [receivers.to_content(recipient, content) for recipient in recipients]
        if all(not reply.accepted for reply in replies):
            return replies[0]
        self._taken(recipients, content, source)
        return next(reply for reply in replies if reply.accepted)
