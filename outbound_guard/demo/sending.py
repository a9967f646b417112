"""The provider's servers as clients: each hands its mail in over SMTP, with its login, as Postfix or Exim would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Sequence

from outbound_guard.config import host_port

_PATIENCE = 30.0
"""Seconds for one reply."""


class Server:
    """One customer server with one connection to the product; one message after the other."""

    def __init__(self, name: str, password: str, address: str, from_: str) -> None:
        """`address`: HOST:PORT of the product's listener; `from_`: our own address."""
        self._name, self._password, self._address, self._from = name, password, address, from_
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def send(self, mail_from: str, recipients: Sequence[str], content: bytes) -> str:
        """Hand a message in; the reply that decided, as `CODE TEXT`. Raises OSError."""
        async with self._turn:
            try:
                return await self._send(mail_from, recipients, content)
            except (OSError, EOFError, TimeoutError) as error:
                await self._hang_up()
                raise OSError(f"the session has broken off: {error}") from error

    async def close(self) -> None:
        """Say goodbye."""
        async with self._turn:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                if self._streams:
                    await self._say("QUIT")
            await self._hang_up()

    async def _send(self, mail_from: str, recipients: Sequence[str], content: bytes) -> str:
        if self._streams is None:
            await self._connect()
        for command in (f"MAIL FROM:<{mail_from}>", *(f"RCPT TO:<{to}>" for to in recipients), "DATA"):
            reply = await self._say(command)
            if reply[0] not in "23":
                await self._say("RSET")
                return reply
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        return await self._say_octets(stuffed + b".\r\n")

    async def _connect(self) -> None:
        self._streams = await asyncio.open_connection(*host_port(self._address), local_addr=(self._from, 0))
        await self._reply()
        await self._say(f"EHLO {self._name}.hosting.example")
        login = base64.b64encode(f"\0{self._name}\0{self._password}".encode()).decode()
        reply = await self._say(f"AUTH PLAIN {login}")
        if not reply.startswith("235"):
            raise OSError(reply)

    async def _say(self, command: str) -> str:
        return await self._say_octets(f"{command}\r\n".encode())

    async def _say_octets(self, octets: bytes) -> str:
        if self._streams is None:
            raise EOFError("not connected")
        self._streams[1].write(octets)
        return await self._reply()

    async def _reply(self) -> str:
        if self._streams is None:
            raise EOFError("not connected")
        while True:
            async with asyncio.timeout(_PATIENCE):
                line = (await self._streams[0].readline()).decode("utf-8", "replace").rstrip("\r\n")
            if not line:
                raise EOFError("closed")
            if line[3:4] != "-":
                return line

    async def _hang_up(self) -> None:
        if self._streams:
            streams, self._streams = self._streams, None
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()


async def report(address: str, to: str, content: bytes) -> str:
    """Hand a report in at the feedback listener; its reply. Raises OSError, TimeoutError."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection(*host_port(address))
        try:
            reply = await reader.readline()
            for command in (
                b"HELO world.example\r\n",
                b"MAIL FROM:<>\r\n",
                f"RCPT TO:<{to}>\r\n".encode(),
                b"DATA\r\n",
            ):
                writer.write(command)
                reply = await reader.readline()
            writer.write(content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            reply = await reader.readline()
            return reply.decode("utf-8", "replace").strip()
        finally:
            writer.close()
