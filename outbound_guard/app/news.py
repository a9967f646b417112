"""News of suspensions for all relay and delivery processes, of all hosts that share a state.

The ledger has the truth, and each process reads it once a second. What is decided about senders and accounts also goes,
as a copy, into a stream in the state, where all look four times a second: so a suspension holds everywhere within a
second, at AUTH and MAIL too, and also where another host's ledger is out of reach. A state that is away delays that
until the ledger tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from outbound_guard.accounts.directory import Directory
from outbound_guard.ledger.records import Record, Standing, decode, encode
from outbound_guard.ledger.scribe import Scribe
from outbound_guard.state import State, StateError

if TYPE_CHECKING:
    from outbound_guard.app.parts import Parts

LOOK = 0.25
"""Seconds between two looks."""
_KEY = b"news"
_MOST = 500
"""Records that are read at a time."""


class News:
    """What this process tells the others, and hears from them."""

    def __init__(self, state: State, directory: Directory | None = None) -> None:
        """Without a `directory` it only tells."""
        self._state, self._directory = state, directory
        self._script = state.script("app/news.lua")
        self._last = b"0"
        self._reading: asyncio.Task[bool] | None = None

    def tell(self, standing: Standing) -> None:
        """Tell all processes. Nobody waits for it."""
        self._state.later(self._script, [_KEY], [encode(standing)])

    async def look(self) -> None:
        """Hear what is new. Never raises for a state or a ledger that is away."""
        if self._directory is None:
            return
        try:
            found = await self._state.command("XRANGE", _KEY, b"(" + self._last, "+", "COUNT", _MOST)
        except StateError:
            # What comes back may be another server that counts anew; to hear something twice does no harm.
            self._last = b"0"
            return
        for name, fields in found:
            self._last = name
            try:
                record = decode(fields[1])
            except msgspec.DecodeError:
                continue  # Of another version of this program.
            if isinstance(record, Standing):
                self._directory.hear(record)
        # A database that hangs must not keep from here what is decided next.
        if found and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._directory.refresh())


async def spread_decisions(parts: Parts, scribe: Scribe) -> None:
    """Tell all processes what the scribe stores about senders and accounts, whoever decided it."""
    state = await State.connect(parts.child.state_url, timeout=parts.config.state.timeout, count=parts.metrics.count)
    parts.stack.push_async_callback(state.close)
    news, loop = News(state), asyncio.get_running_loop()

    def tell(records: list[Standing]) -> None:
        for record in records:
            news.tell(record)

    def stored(records: Iterable[Record]) -> None:
        # Called in the scribe's thread.
        if standings := [record for record in records if isinstance(record, Standing)]:
            loop.call_soon_threadsafe(tell, standings)

    scribe.told = stored
