"""Scanners as the product asks them, and daemons of our own that answer as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from outbound_guard.clock import VirtualClock
from outbound_guard.config import Config, Dns, Scanner
from outbound_guard.content import parse
from outbound_guard.mail import Envelope, Submission
from outbound_guard.metrics import Metrics
from outbound_guard.scanners import Opinion, Scanners
from tests.product import message

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(talk: Talk, path: Path | None = None) -> AsyncIterator[str]:
    """A daemon that does as it is told; its address."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await talk(reader, writer)
        writer.close()

    if path:
        listening = await asyncio.start_unix_server(one, path)
        address = f"unix:{path}"
    else:
        listening = await asyncio.start_server(one, "127.0.0.1", 0)
        address = "{}:{}".format(*listening.sockets[0].getsockname())
    async with listening:
        yield address


def saying(answer: bytes) -> Talk:
    """A daemon that reads a little, says this, and closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        await writer.drain()

    return talk


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


class Asking:
    """Scanners as the product asks them, with a clock that the test sets."""

    def __init__(self, *configured: Scanner, resolver: str = "127.0.0.1:9", path: str = "") -> None:
        self.clock, self.metrics = VirtualClock(1000.0), Metrics()
        config = Config(scanner=configured, dns=Dns(resolvers=(resolver,)), path=path)
        self.scanners = Scanners(config, self.clock, self.metrics)

    async def ask(self, content: bytes = message("note"), to: tuple[str, ...] = ("bob@b.test",)) -> list[Opinion]:
        submission = Submission("0001", 1000.0, Envelope("anna@a.test", to), content, "192.0.2.1")
        return list(await self.scanners.ask(submission, parse(content)))

    def counted(self, name: str, result: str) -> float:
        return self.metrics.value("scanner_answers_total", name, result)
