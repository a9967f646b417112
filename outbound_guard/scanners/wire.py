"""One question and its answer over TCP or a unix socket, for daemons that close the connection behind their answer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from outbound_guard.config import host_port
from outbound_guard.scanners.opinion import Nonsense

_LONGEST = 1_048_576
"""Octets of an answer."""


async def exchange(address: str, *pieces: bytes) -> bytes:
    """Send the pieces to `address` (HOST:PORT or unix:PATH) and return all that comes until the other side closes.

    Raises OSError, and Nonsense for an answer that is too long.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport: asyncio.Transport
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        transport = (await loop.create_unix_connection(partial(_Exchange, pieces, answer), path))[0]
    else:
        transport = (await loop.create_connection(partial(_Exchange, pieces, answer), *host_port(address)))[0]
    try:
        return await answer
    finally:
        # Nothing is left to be said, and closing in good order could wait for the other side.
        transport.abort()
        # Else what it failed with, its traceback, this frame and the future are a ring, with the message in it.
        del answer


class _Exchange(asyncio.Protocol):
    """One connection. asyncio's streams would cost half as much again for each question."""

    def __init__(self, pieces: tuple[bytes, ...], answer: asyncio.Future[bytes]) -> None:
        self._pieces, self._answer = pieces, answer
        self._heard = bytearray()

    def connection_made(self, transport: Any) -> None:
        transport.writelines(self._pieces)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) > _LONGEST and not self._answer.done():
            self._answer.set_exception(Nonsense("a very long answer"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error:
            self._answer.set_exception(error)
        else:
            self._answer.set_result(bytes(self._heard))


def one_line(text: str, most: int = 200) -> str:
    """A text of the other side as it may stand in logs and reasons: printable, on one line, not long."""
    return " ".join("".join([c if c.isprintable() else " " for c in text[: 4 * most]]).split())[:most]
