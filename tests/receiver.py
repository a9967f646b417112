"""A receiving HTTP server that we own: it keeps what it gets and fails in all ways it is told to.

async with receiver() as hook:
    hook.answers = ["500", "429 Retry-After: 60", "200"]     # in turn; the last one for ever
    ... POST to f"http://127.0.0.1:{hook.port}/..." ...
    [request] = hook.requests
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Receiver:
    """What it is told, and what it got."""

    port: int = 0
    answers: list[str] = field(default_factory=lambda: ["200"])
    """`STATUS` with `NAME: VALUE` behind it, or: hang | close (without an answer) | torn (in the middle of its head) |
    drip (an octet now and then) | huge (an endless body) | cut (the body ends before its length)."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    got: asyncio.Event = field(default_factory=asyncio.Event)
    """A request has come."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append(Request(line, headers, body))
            self.got.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await self._answer(answer, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # Who asked has gone; some answers are meant to bring that about.
        finally:
            writer.close()

    async def _answer(self, answer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match answer:
            case "close":
                return
            case "hang":
                await reader.read()
            case "torn":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
                await writer.drain()
            case "drip":
                for octet in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000:
                    writer.write(bytes([octet]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "huge":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
            case "cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of")
                await writer.drain()
            case _:
                status, _, fields = answer.partition(" ")
                extra = f"{fields}\r\n" if fields else ""
                writer.write(f"HTTP/1.1 {status} Said\r\n{extra}Content-Length: 2\r\n\r\nok".encode())
                await writer.drain()


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    here = Receiver()
    server = await asyncio.start_server(here.serve, host, 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        if hasattr(server, "close_clients"):
            server.close_clients()
