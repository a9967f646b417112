"""Who is next: messages by due time, and a lane that works on the due ones, a bounded number at a time."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from outbound_guard.clock import Clock

_AFTER_A_FAULT = 60.0
"""Seconds until a message is taken up again after an error of ours."""

_log = logging.getLogger(__name__)


class Agenda:
    """Ids by due time (unix seconds); small enough for 100,000 of them."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        # May hold entries that are out of date; `_due` knows.
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._due

    def put(self, id_: str, due: float) -> None:
        """Note when a message is due, instead of what was noted before."""
        self._due[id_] = due
        heapq.heappush(self._heap, (due, id_))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(time, known) for known, time in self._due.items()]
            heapq.heapify(self._heap)

    def keep(self, ids: set[str]) -> None:
        """Forget all but `ids`."""
        for id_ in self._due.keys() - ids:
            del self._due[id_]

    def next_due(self) -> float | None:
        """When the first message is due; None if there is none."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> str | None:
        """The message that has been due longest at `now`, which is thereby forgotten; None if none is due."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, id_ = heapq.heappop(self._heap)
        del self._due[id_]
        return id_


class Lane:
    """Works on due messages, at most `limit` at a time."""

    def __init__(self, work: Callable[[str], Coroutine[Any, Any, float | None]], limit: int, clock: Clock) -> None:
        """`work` gets an id and returns when to take the message up again (unix seconds), or None: it is done with."""
        self._work = work
        self._limit = limit
        self._clock = clock
        self._closed = False
        self._working: dict[str, asyncio.Task[float | None]] = {}
        self.agenda = Agenda()

    def __contains__(self, id_: str) -> bool:
        return id_ in self.agenda or id_ in self._working

    def __len__(self) -> int:
        return len(self.agenda) + len(self._working)

    def start_due(self) -> None:
        """Start on what is due, as far as there is room."""
        now = self._clock.now()
        while not self._closed and len(self._working) < self._limit and (id_ := self.agenda.pop(now)):
            if id_ in self._working:
                # It was put back while its work was about to end.
                self.agenda.put(id_, now + 1.0)
            else:
                task = self._working[id_] = asyncio.create_task(self._work(id_))
                task.add_done_callback(partial(self._ended, id_))

    def next_due(self) -> float | None:
        """When there will be something to start; None if there is nothing, or no room before some work ends."""
        return self.agenda.next_due() if len(self._working) < self._limit else None

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

    def _ended(self, id_: str, task: asyncio.Task[float | None]) -> None:
        del self._working[id_]
        if task.cancelled():
            return
        error = task.exception()
        if error:
            _log.error("work on %s has failed", id_, exc_info=error)
            due: float | None = self._clock.now() + _AFTER_A_FAULT
        else:
            due = task.result()
        if due is not None and id_ not in self.agenda:
            self.agenda.put(id_, due)
        self.start_due()
