"""What a decision about held mail teaches: the memory of the relays about sender and text, and the signals' weights.

A release says that the mail was honest: what spoke against its sender is cleared as a mistake of ours, and its text is
known as good. A deletion as abuse marks the text, so that it is stopped from everybody. Either moves the weights of the
signals a little (`desk.policy.weights`). One act teaches each of these once, however many messages it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from outbound_guard.clock import Clock
from outbound_guard.config import ConfigError
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.policy.weights import Lessons
from outbound_guard.ledger.database import LedgerError
from outbound_guard.reputation import Reputation
from outbound_guard.spool import Entry
from outbound_guard.state import StateDown

OpenMemory = Callable[[], AbstractAsyncContextManager[Reputation]]
"""Gives the memory of the relays and, at its end, has written what it was told. Raises StateDown or ConfigError."""


class Teaching:
    """What one act teaches. What cannot be taught is said, and hinders nothing: the act itself is done."""

    def __init__(
        self,
        memory: OpenMemory,
        lessons: Callable[[], Lessons] | None,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        """`lessons` gives what moves the weights (it may raise as `Lessons.learn` does), None if nothing may.

        `say` gets a line for whatever could not be taught.
        """
        self._memory, self._open_lessons, self._clock, self._say = memory, lessons, clock, say
        self._lessons: Lessons | None = None
        self._told: set[object] = set()
        """What was taught already: senders with their accounts, and texts."""

    async def honest(self, entry: Entry) -> None:
        """Learn that a message was honest."""
        await self.forget(entry.sender, entry.account, mistake=True)
        await self._judged(entry.fingerprint, good=True)
        await self._learn(entry, abuse=False)

    async def abuse(self, entry: Entry) -> None:
        """Learn that a message was abuse."""
        await self._judged(entry.fingerprint, good=False)
        await self._learn(entry, abuse=True)

    async def forget(self, sender: str, account: str, *, mistake: bool) -> None:
        """Clear the suspicion of a sender; `mistake`: it was ours, so the sender is trusted more from now on."""
        if not self._first((sender, account)):
            return

        async def pardon(memory: Reputation) -> None:
            await memory.pardon(sender, account, self._clock.now(), mistake=mistake)

        await self._tell(pardon, f"the suspicion of {sender or account} stays")

    async def _judged(self, fingerprint: int, *, good: bool) -> None:
        """Let all relays know what a person thinks of a text, by its fingerprint."""
        if not fingerprint or not self._first(fingerprint):
            return

        async def judged(memory: Reputation) -> None:
            memory.judged(fingerprint, good=good)

        await self._tell(judged, "the text is judged as before")

    async def _learn(self, entry: Entry, *, abuse: bool) -> None:
        if self._open_lessons is None:
            return
        try:
            if self._lessons is None:
                self._lessons = await asyncio.to_thread(self._open_lessons)
            await self._lessons.learn(entry, abuse=abuse)
        except (LedgerError, DeskError, ConfigError) as error:
            self._open_lessons = None
            self._say(f"the weights of the signals stay: {error}")

    async def _tell(self, what: Callable[[Reputation], Awaitable[None]], otherwise: str) -> None:
        try:
            async with self._memory() as memory:
                await what(memory)
        except (StateDown, ConfigError) as error:
            self._say(f"{otherwise}, since the state cannot be reached: {error}")

    def _first(self, what: object) -> bool:
        new = what not in self._told
        self._told.add(what)
        return new
