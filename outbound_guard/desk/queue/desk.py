"""The queue for the process that serves people: what it holds, what an act would do, and acts."""

from __future__ import annotations

import asyncio

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Delivery
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.queue.acts import Act
from outbound_guard.desk.queue.deciding import Acts, Meant, Progress, check, in_words
from outbound_guard.desk.queue.index import PATIENCE, Index, Known
from outbound_guard.desk.queue.listing import Sort, Summary, found, in_order, summary
from outbound_guard.desk.queue.showing import Queued, show
from outbound_guard.desk.queue.waiting import Search, Waiting
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.spool import Spool

_READING = 20.0
"""Seconds that an act by a condition waits for the whole queue to be read."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Queued messages that fit."""

    items: list[Waiting]
    summary: Summary
    """Of all that fit."""
    next: int | None
    """The `offset` to go on with; null: that was all."""
    queue: int
    """Messages in the queue."""
    known: int
    """Of these, those that are known here."""
    time: float
    """The queue is as of then (unix seconds); 0: it is still being read, and not all is known."""


class LeftOut(msgspec.Struct, frozen=True):
    """Messages to which it cannot be done."""

    number: int
    why: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an act would do."""

    act: str
    meant: str
    """Which messages are meant, in words."""
    number: int
    """Messages to which it would be done."""
    left_out: tuple[LeftOut, ...]
    summary: Summary
    """Of all that are meant and wait."""
    consequences: tuple[str, ...]
    """What it comes to, one sentence each."""
    examples: tuple[Waiting, ...]
    """The oldest of them."""


class QueueDesk:
    """One for a process. `close` it before the spool."""

    def __init__(
        self,
        spool: Spool,
        journal: Journal,
        clock: Clock,
        delivery: Delivery,
        hostname: str,
        patience: float = PATIENCE,
    ) -> None:
        """`hostname` is who reports to senders; `patience`: seconds that a question waits for news of the spool."""
        self._spool, self._delivery = spool, delivery
        self.index = Index(spool, clock, patience)
        self.acts = Acts(spool, journal, clock, hostname)

    async def page(
        self, search: Search, *, sort: Sort = "received", down: bool = False, offset: int = 0, limit: int = 50
    ) -> Page:
        """A part of the list of those that fit, and all of them in numbers. Raises OSError."""
        known = await self.index.known()
        fitting, numbers = await asyncio.to_thread(self._found, known, search)
        rows = await asyncio.to_thread(in_order, fitting, sort, down=down)
        items = rows[offset : offset + limit]
        after = offset + len(items)
        return Page(
            items=items,
            summary=numbers,
            next=after if after < len(rows) else None,
            queue=known.total,
            known=len(known.rows),
            time=known.time,
        )

    async def show(self, ledger: Ledger | None, id_: str) -> Queued:
        """One message. Raises DeskError."""
        return await show(self._spool, ledger, self._delivery, id_)

    async def preview(self, meant: Meant, act: Act) -> Preview:
        """What would be done to which messages. Changes nothing. Raises DeskError, OSError."""
        check(meant, act)
        rows, unknown = await self.meant(meant)
        return await asyncio.to_thread(_preview, meant, act, rows, unknown)

    async def place(self, meant: Meant, act: Act, *, by: str, reason: str = "") -> Progress:
        """Begin to do it, in the background. Raises DeskError, OSError."""
        check(meant, act)
        rows, _ = await self.meant(meant)
        begun = self.acts.place(meant, [(one.id, one.size) for one in rows], act, by=by, reason=reason)
        self.index.stale()
        return begun

    async def meant(self, meant: Meant) -> tuple[list[Waiting], int]:
        """The messages, oldest first, and how many more there are of which nothing is known. Raises DeskError."""
        if not isinstance(meant, Search):
            ids = sorted(set(meant))
            known = await asyncio.to_thread(lambda: [self.index.one(id_) for id_ in ids])
            rows = [one for one in known if one is not None]
            return rows, len(ids) - len(rows)
        self.index.stale()
        queue = await self.index.known(_READING)
        if not queue.complete:
            raise DeskError(f"the queue is being read: {len(queue.rows)} of {queue.total} messages so far; try again")
        return (await asyncio.to_thread(found, queue.rows.values(), meant, self._whole)), queue.total - len(queue.rows)

    async def close(self) -> None:
        """End what is under way, as far as it has come."""
        await self.acts.close()
        await self.index.close()

    def _found(self, known: Known, search: Search) -> tuple[list[Waiting], Summary]:
        fitting = found(known.rows.values(), search, self._whole)
        return fitting, known.summary if search.empty and known.summary else summary(fitting)

    def _whole(self, id_: str) -> Waiting | None:
        try:
            return self.index.one(id_)
        except OSError:
            return None


def _preview(meant: Meant, act: Act, rows: list[Waiting], unknown: int) -> Preview:
    numbers = summary(rows)
    out = []
    if unknown:
        why = "more than can be known here at a time" if isinstance(meant, Search) else "not queued any more"
        out.append(LeftOut(unknown, why))
    if act == "hold" and numbers.reports:
        out.append(LeftOut(numbers.reports, "reports of our own, which are tried or given up, not held"))
    return Preview(
        act=act,
        meant=in_words(meant),
        number=numbers.number - (numbers.reports if act == "hold" else 0),
        left_out=tuple(out),
        summary=numbers,
        consequences=tuple(_consequences(meant, act, numbers)),
        examples=tuple(rows[:10]),
    )


def _consequences(meant: Meant, act: Act, numbers: Summary) -> list[str]:
    if act == "retry":
        return ["They are tried at once, as far as pace and connections allow. When each expires stays as it was."]
    if act == "hold":
        return [
            "They lie in Held until a person lets them go, deletes or returns them; who has a message already does not "
            "get it again.",
            "A message is held as a whole, with all recipients that it is still waiting for.",
        ]
    told = ["What was given up cannot be called back."]
    if isinstance(meant, Search) and meant.about_recipients:
        told.append("Only those recipients are given up that fit; of the others the message goes on.")
    silent = numbers.number - numbers.returnable
    if numbers.returnable:
        told.append("The sender gets a report (a bounce), with the reason if you give one.")
    if silent:
        told.append(
            f"Of {silent} nobody is told: it is a report itself, or the account does not own the sender's address, and "
            "a report to a stranger would be backscatter."
        )
    return told
