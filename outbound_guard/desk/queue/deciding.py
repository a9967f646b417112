"""Acts on queued messages: what one would do, and one carried out, be it about one message or a hundred thousand.

An act on many is carried out in the background, some messages at a time, and looks at each again: what was delivered
meanwhile, or does not fit any more, is left alone. It is known to this process only: after a restart the rest of the
messages wait in the queue as before, and whoever wants to goes on. Its one entry in the audit says what was meant.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import get_args

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.queue.acts import (
    DONE,
    Act,
    Gone,
    perform,
    recipients_meant,
    records,
    take,
    taken_back,
)
from outbound_guard.desk.queue.waiting import Fit, Search, described
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit
from outbound_guard.mail import new_id
from outbound_guard.spool import Lease, Spool

MOST_NAMED = 10_000
"""Messages that are named one by one."""
_BATCH, _BATCH_OCTETS = 64, 64_000_000
"""Messages at a time, as many as share one fsync of the journal, and their octets, which are in memory meanwhile."""
_KEPT = 50
"""Acts that are remembered."""
_REMARKS = 20

Meant = Search | tuple[str, ...]
"""Which messages: all that fit, or these ids."""

_log = logging.getLogger(__name__)


class Progress(msgspec.Struct, kw_only=True):
    """An act and how far it has come. Times are unix seconds."""

    id: str
    time: float
    by: str
    act: str
    """retry | hold | bounce"""
    meant: str
    """Which messages, in words."""
    reason: str
    number: int
    """Messages that were meant when it began."""
    done: int = 0
    gone: int = 0
    """Not queued any more, or not any more as they were meant: mostly delivered meanwhile."""
    failed: int = 0
    state: str = "running"
    """running | done | broken"""
    ended: float = 0.0
    remarks: list[str] = []
    """Why some failed; the first few reasons."""

    @property
    def to_come(self) -> int:
        """Messages that were not looked at yet."""
        return max(0, self.number - self.done - self.gone - self.failed)


def check(meant: Meant, act: str) -> None:
    """Refuse what cannot be meant. Raises DeskError."""
    if act not in get_args(Act):
        raise DeskError(f"no such act: {act}")
    if isinstance(meant, Search):
        if meant.empty:
            # Whoever forgets the condition must not return everybody's mail.
            raise DeskError("say which messages: by account, sender, recipient, destination, answer, subject or age")
    elif not meant:
        raise DeskError("no message is selected")
    elif len(meant) > MOST_NAMED:
        raise DeskError(f"more than {MOST_NAMED} messages by name: say by a condition which are meant")


def in_words(meant: Meant) -> str:
    """Which messages are meant."""
    if isinstance(meant, Search):
        return described(meant)
    return meant[0] if len(meant) == 1 else f"{len(meant)} selected messages"


class Acts:
    """Carries acts out, one after the other. One of these a process."""

    def __init__(self, spool: Spool, journal: Journal, clock: Clock, hostname: str) -> None:
        """`hostname` is who reports to senders."""
        self._spool, self._journal, self._clock, self._hostname = spool, journal, clock, hostname
        self._acts: dict[str, Progress] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def newest(self) -> list[Progress]:
        """The acts that are remembered, the newest first."""
        return list(reversed(self._acts.values()))

    def one(self, id_: str) -> Progress:
        """An act. Raises DeskError."""
        if id_ not in self._acts:
            raise DeskError(f"no act {id_} on the queue is known; those before the last restart are forgotten")
        return self._acts[id_]

    def place(self, meant: Meant, messages: Sequence[tuple[str, int]], act: Act, *, by: str, reason: str) -> Progress:
        """Begin to do it to these messages (id and octets), which are those that were meant. Raises DeskError."""
        begun = self._begun(meant, messages, act, by, reason)
        task = asyncio.get_running_loop().create_task(self._in_turn(begun, meant, messages, act))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return begun

    async def carry_out(
        self, meant: Meant, messages: Sequence[tuple[str, int]], act: Act, *, by: str, reason: str
    ) -> Progress:
        """The same, and wait until it is done. Raises DeskError."""
        begun = self._begun(meant, messages, act, by, reason)
        await self._in_turn(begun, meant, messages, act)
        return begun

    async def close(self) -> None:
        """Break off what is under way after the batch in hand; what was not looked at stays in the queue."""
        self._stopping = True
        await self.settled()

    async def settled(self) -> None:
        """Return when nothing is under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begun(self, meant: Meant, messages: Sequence[tuple[str, int]], act: Act, by: str, reason: str) -> Progress:
        check(meant, act)
        if not messages:
            raise DeskError("nothing that is queued fits")
        if sum(one.state == "running" for one in self._acts.values()) >= _KEPT:
            raise DeskError("too many acts on the queue are under way: wait until some are done")
        now = self._clock.now()
        begun = Progress(
            id=new_id(now), time=now, by=by, act=act, meant=in_words(meant), reason=reason, number=len(messages)
        )
        alone = isinstance(meant, tuple) and len(meant) == 1
        detail = reason if alone else f"{len(messages)} messages: {begun.meant}" + (f"; {reason}" if reason else "")
        subject = meant[0] if alone and isinstance(meant, tuple) else ""
        on_disk(self._journal, Audit(time=now, by=by, what=f"queue.{act}", subject=subject, detail=detail))
        self._acts[begun.id] = begun
        for id_ in [id_ for id_, one in self._acts.items() if one.state != "running"][: len(self._acts) - _KEPT]:
            del self._acts[id_]
        return begun

    async def _in_turn(self, begun: Progress, meant: Meant, messages: Sequence[tuple[str, int]], act: Act) -> None:
        fit = Fit(meant) if isinstance(meant, Search) else None
        try:
            async with self._turn:
                for batch in _batches(messages):
                    if self._stopping:
                        return
                    await self._see_to(begun, batch, act, fit)
            begun.state = "done"
        except DeskError as error:
            _remark(begun, str(error))
        except OSError as error:
            _log.exception("an act on the queue has broken off")
            _remark(begun, error.strerror or str(error))
        finally:
            if begun.state == "running":
                begun.state = "broken"
            begun.ended = self._clock.now()

    async def _see_to(self, begun: Progress, batch: Sequence[str], act: Act, fit: Fit | None) -> None:
        """Do it to a batch. Raises DeskError if nothing can be journaled."""
        got = await asyncio.gather(*(self._taken(id_, act, fit) for id_ in batch), return_exceptions=True)
        taken = [one for one in got if isinstance(one, tuple)]
        try:
            for one in got:
                if isinstance(one, Gone):
                    begun.gone += 1
                    if fit is None:
                        _remark(begun, str(one))
                elif isinstance(one, DeskError):
                    begun.failed += 1
                    _remark(begun, str(one))
                elif isinstance(one, BaseException):
                    raise one
            if taken:
                await self._do(begun, taken, act)
        finally:
            for message, _ in taken:
                message.close()

    async def _taken(self, id_: str, act: Act, fit: Fit | None) -> tuple[Lease, tuple[str, ...]]:
        message = await take(self._spool, id_, act)
        try:
            return message, recipients_meant(message, fit)
        except BaseException:
            message.close()
            raise

    async def _do(self, begun: Progress, taken: Sequence[tuple[Lease, tuple[str, ...]]], act: Act) -> None:
        now, reason = self._clock.now(), begun.reason
        written = [one for message, meant in taken for one in records(act, message, meant, now, begun.by, reason)]
        if written:
            on_disk(self._journal, *written)
        acting = (perform(act, self._spool, message, meant, now, reason, self._hostname) for message, meant in taken)
        results = await asyncio.gather(*acting, return_exceptions=True)
        for (message, meant), error in zip(taken, results, strict=True):
            if error is None:
                begun.done += 1
            elif isinstance(error, OSError):
                begun.failed += 1
                _remark(begun, f"{message.entry.id} could not be {DONE[act]}: {error.strerror or error}")
                for record in taken_back(act, message, meant, self._clock.now(), error):
                    self._journal.append(record)
            else:
                raise error


def _remark(begun: Progress, text: str) -> None:
    if len(begun.remarks) < _REMARKS and text not in begun.remarks:
        begun.remarks.append(text)


def _batches(messages: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    batch: list[str] = []
    octets = 0
    for id_, size in messages:
        if batch and (len(batch) >= _BATCH or octets + size > _BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append(id_)
        octets += size
    if batch:
        yield batch
