"""Works on the messages of an agenda, a bounded number at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.delivery.agenda import Agenda
from outbound_guard.delivery.turn import FINE, Outlook, Turn

_AFTER_A_FAULT = 60.0
"""Seconds until a message is taken up again after an error of ours."""

_log = logging.getLogger(__name__)


class Lane:
    """Starts the work on each message when it has its turn."""

    def __init__(
        self,
        work: Callable[[str], Coroutine[Any, Any, Turn | None]],
        places: int,
        clock: Clock,
        outlook: Callable[[str], Outlook] = lambda _: FINE,
    ) -> None:
        """`work` gets an id and returns its next turn, or None: it is done with. `places`, `outlook` see Agenda."""
        self._work = work
        self._clock = clock
        self._closed = False
        self._working: dict[str, asyncio.Task[Turn | None]] = {}
        self.agenda = Agenda(places, outlook)

    def __contains__(self, id_: str) -> bool:
        return id_ in self.agenda

    def __len__(self) -> int:
        return len(self.agenda)

    def start_due(self) -> None:
        """Start on what is due, as far as there is room."""
        now = self._clock.now()
        while not self._closed and (id_ := self.agenda.take(now)):
            task = self._working[id_] = asyncio.create_task(self._work(id_))
            task.add_done_callback(partial(self._ended, id_))

    def next_due(self) -> float | None:
        """When there will be something to start; None if there is nothing, or nothing before some work ends."""
        return self.agenda.next_time()

    async def drain(self) -> None:
        """Start nothing more, and return when all work has ended."""
        self._closed = True
        await self.settled()

    async def settled(self) -> None:
        """Return when nothing is being worked on."""
        while self._working:
            await asyncio.wait(self._working.values())

    async def cancel(self) -> None:
        """Break off all work; the messages stay as they are on the disk."""
        self._closed = True
        working = list(self._working.values())
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    def _ended(self, id_: str, task: asyncio.Task[Turn | None]) -> None:
        del self._working[id_]
        known = self.agenda.done(id_)
        if task.cancelled():
            return
        error = task.exception()
        if error:
            # What the disk refuses is no fault of the program: where it was in it says nothing, thousands of times.
            where = None if isinstance(error, OSError) else error
            _log.error("work on %s has failed and is done again: %s", id_, error, exc_info=where)
            turn: Turn | None = known._replace(due=self._clock.now() + _AFTER_A_FAULT, stranded=False)
        else:
            turn = task.result()
        if turn is not None and not self.agenda.waits(id_):
            self.agenda.put(id_, turn)
        self.start_due()
