"""Decisions about many held messages are carried out: some at a time, each once, whatever happens in between.

For a batch of messages: take them, so that nobody else can; write to the journal, once for all of them; act; let them
go; teach; note what became of each. A crash before the journal leaves them as they were, and they are taken up again.
After a crash later on a message is not held any more, and the ledger says that it was us; or it is still held, and the
act is finished by this or by `reconcile`, whichever comes first. (A return that crashes between report and deletion
sends a second report: one too many is better than none.)
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import get_args

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.held.acts import DONE, Act, Gone, InHand, perform, records, take, taken_back
from outbound_guard.desk.held.teaching import Teaching
from outbound_guard.ledger import bulk_queries, bulk_storing, held_queries
from outbound_guard.ledger.bulk_queries import Bulk
from outbound_guard.ledger.bulk_storing import PENDING
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.held_columns import OPEN
from outbound_guard.ledger.held_queries import HeldRow
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, BulkChange, BulkDone, BulkResult
from outbound_guard.mail import Envelope
from outbound_guard.spool import Entry, Lease, Spool

BATCH = 64
"""Messages at a time: as many as share one fsync of the journal."""
BATCH_OCTETS = 64_000_000
"""Of their contents, which are in memory meanwhile."""
_ROUNDS = 8
"""So often a message that is in somebody else's hands is tried."""
_REMARKS = 20
_ACTS: dict[str, Act] = {act: act for act in get_args(Act)}


class Work:
    """Carries out what is due. One process alone does; of several hosts with one ledger, one on each.

    Then each sees to the messages in its own spool, and the one that leads to what nobody knows of, and says at last
    that all is done. What lies on a host that is away waits until it is back.
    """

    def __init__(
        self,
        reader: Ledger,
        spool: Spool,
        journal: Journal,
        clock: Clock,
        *,
        hostname: str,
        settled: Callable[[], Awaitable[bool]],
        teaching: Callable[[str, Callable[[str], None]], Teaching],
        pause: float = 2.0,
        writer: Ledger | None = None,
        node: str = "",
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`hostname` is who reports to senders.

        `settled` returns True when the ledger has what this process has written to the journal. `teaching` gets who
        has decided and where to say what could not be taught. `pause`: seconds between two tries of a message that is
        in somebody else's hands.
        If other hosts share the ledger, `writer` is its writer, `node` the name of this host, and `leads` says whether
        it is the one that leads.
        """
        self._writer, self._node, self._leads = writer, node, leads
        self._reader, self._spool, self._journal, self._clock = reader, spool, journal, clock
        self._hostname, self._settled, self._teaching, self._pause = hostname, settled, teaching, pause

    async def once(self) -> int:
        """Carry out what is due now: how many decisions. Raises DeskError (nothing can be journaled), LedgerError."""
        if not await asyncio.to_thread(self._due):
            return 0
        # What was undone in time stands in the journal now, and must be seen.
        if not await self._settled():
            return 0
        due = await asyncio.to_thread(self._due)
        for id_ in due:
            found = await asyncio.to_thread(bulk_queries.one, self._reader, id_)
            if found is not None and found.state == bulk_queries.WAITING:
                if self._leads():
                    self._expire(found)
            elif found is not None:
                await self._carry_out(found)
        return len(due)

    def _expire(self, bulk: Bulk) -> None:
        """No second person has come in time: every message stays where it is."""
        now = self._clock.now()
        on_disk(
            self._journal,
            BulkChange(id=bulk.id, time=now, state="expired", due=bulk.due),
            Audit(time=now, by="system", what="bulk.expired", subject=bulk.id, detail=bulk.meant),
        )

    def _due(self) -> list[str]:
        """The ids of the decisions that there is something to do for, here."""
        due = bulk_queries.due(self._reader, self._clock.now())
        if not self._node:
            return [id_ for id_, _ in due]
        leads = self._leads()
        found = []
        for id_, state in due:
            if state == bulk_queries.WAITING:
                # Nobody has confirmed it: whoever leads says so, wherever the messages are.
                if leads:
                    found.append(id_)
                continue
            left = bulk_queries.pending_at(self._reader, id_)
            if left.get(self._node) or (leads and (left.get("") or not left)):
                found.append(id_)
        return found

    async def _carry_out(self, bulk: Bulk) -> None:
        if self._writer is not None and not await asyncio.to_thread(
            bulk_storing.begin, self._writer, bulk.id, self._clock.now()
        ):
            return
        again = bulk.state == "running"
        if not again:
            on_disk(self._journal, BulkChange(id=bulk.id, time=self._clock.now(), state="running", by=bulk.by))
        remarks: list[str] = []

        def say(remark: str) -> None:
            if len(remarks) < _REMARKS and remark not in remarks:
                remarks.append(remark)

        one = _One(self, bulk, self._teaching(bulk.by, say), since=bulk.changed if again else self._clock.now())
        leads = self._leads()
        wanted = await asyncio.to_thread(
            bulk_queries.pending, self._reader, bulk.id, self._node, also_unknown=not self._node or leads
        )
        for round_ in range(_ROUNDS):
            for batch in _batches(wanted):
                await one.see_to(batch)
            wanted, one.busy = one.busy, []
            if not wanted:
                break
            if round_ < _ROUNDS - 1:
                await asyncio.sleep(self._pause)
        one.note([BulkResult(id_, "failed", "in somebody else's hands all the time") for id_, _ in wanted])
        if one.gone:
            await self._settled()
            await one.explain_gone()
        counted = await self._counts(bulk.id)
        if self._node and (not counted or counted.get(PENDING) or not leads):
            # Other hosts have theirs still to do, or it is theirs to say that all is done.
            return
        counts = ", ".join(f"{number} {state}" for state, number in sorted((counted or one.counts).items()))
        now = self._clock.now()
        on_disk(
            self._journal,
            BulkChange(id=bulk.id, time=now, state="done", by=bulk.by, remarks=tuple(remarks)),
            Audit(time=now, by=bulk.by, what="bulk.done", subject=bulk.id, detail=counts),
        )

    async def _counts(self, id_: str) -> dict[str, int]:
        """What became of all messages, also of those seen to before a crash; empty if the ledger does not know yet."""
        found = await asyncio.to_thread(bulk_queries.one, self._reader, id_) if await self._settled() else None
        return found.counts if found else {}


class _One:
    """One decision under way."""

    def __init__(self, work: Work, bulk: Bulk, teaching: Teaching, *, since: float) -> None:
        """`since`: when it was first begun (unix seconds)."""
        self._work, self._bulk, self._teaching, self._since = work, bulk, teaching, since
        self._act = _ACTS[bulk.act]
        self.busy: list[tuple[str, int]] = []
        self.gone: dict[str, str] = {}
        """What was not held any more, and what was found instead."""
        self.counts: dict[str, int] = {}

    async def see_to(self, batch: Sequence[tuple[str, int]]) -> None:
        """Do it to these messages (id and octets). Raises DeskError if nothing can be journaled."""
        taken: list[Lease] = []
        results: list[BulkResult] = []

        async def take_one(id_: str, size: int) -> None:
            try:
                taken.append(await take(self._work._spool, id_, self._act))
            except InHand:
                self.busy.append((id_, size))
            except Gone as why:
                self.gone[id_] = str(why)
            except DeskError as why:
                results.append(BulkResult(id_, "failed", str(why)))

        try:
            taking = await asyncio.gather(*itertools.starmap(take_one, batch), return_exceptions=True)
            for error in taking:
                if error is not None:
                    raise error
            done = await self._do(taken, results)
        finally:
            for message in taken:
                message.close()
        await self._teach(done)
        self.note(results)

    async def _do(self, taken: list[Lease], results: list[BulkResult]) -> list[Entry]:
        """Journal, then act; what has been done."""
        work, bulk, now = self._work, self._bulk, self._work._clock.now()
        if not taken:
            return []
        detail = f"{bulk.reason} (decision {bulk.id})".strip()
        on_disk(
            work._journal,
            *(
                record
                for message in taken
                for record in records(self._act, message.entry.id, now, bulk.by, bulk.reason, detail)
            ),
        )
        acting = (perform(self._act, work._spool, message, now, work._hostname) for message in taken)
        done = []
        for message, error in zip(taken, await asyncio.gather(*acting, return_exceptions=True), strict=True):
            if error is None:
                done.append(message.entry)
                results.append(BulkResult(message.entry.id, "done"))
            elif isinstance(error, OSError):
                record, why = taken_back(self._act, message, work._clock.now(), error)
                work._journal.append(record)
                results.append(BulkResult(message.entry.id, "failed", str(why)))
            else:
                raise error
        return done

    async def explain_gone(self) -> None:
        """Say of what was not held any more what the ledger knows; some of it was our own work, before a crash."""
        known = await asyncio.to_thread(held_queries.by_ids, self._work._reader, list(self.gone))
        results, ours = [], []
        for id_, found in self.gone.items():
            row = known.get(id_)
            if row is not None and self._was_us(row):
                ours.append(_entry(row))
                results.append(BulkResult(id_, "done"))
            else:
                told = f"{row.state} by {row.changed_by}" if row and row.state not in OPEN else found
                results.append(BulkResult(id_, "gone", told))
        await self._teach(ours)
        self.note(results)

    def note(self, results: Sequence[BulkResult]) -> None:
        """Have the ledger know what became of messages."""
        if results:
            self._work._journal.append(BulkDone(self._bulk.id, self._work._clock.now(), tuple(results)))
        for result in results:
            self.counts[result.state] = self.counts.get(result.state, 0) + 1

    async def _teach(self, entries: Sequence[Entry]) -> None:
        if self._bulk.teach:
            teach = self._teaching.honest if self._act == "release" else self._teaching.abuse
            for entry in entries:
                await teach(entry)

    def _was_us(self, row: HeldRow) -> bool:
        """True if this decision did it, before a crash; `reconcile` may have finished it under its own name."""
        return (
            row.state == DONE[self._act] and row.changed >= self._since and row.changed_by in (self._bulk.by, "system")
        )


def _batches(wanted: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    batch: list[tuple[str, int]] = []
    octets = 0
    for id_, size in wanted:
        if batch and (len(batch) >= BATCH or octets + size > BATCH_OCTETS):
            yield batch
            batch, octets = [], 0
        batch.append((id_, size))
        octets += size
    if batch:
        yield batch


def _entry(row: HeldRow) -> Entry:
    """As much of a message as can be taught from, when the message itself has gone."""
    meta = {"fingerprint": row.text} if row.text else {}
    return Entry(
        id=row.id,
        received=row.received,
        envelope=Envelope(row.mail_from, row.recipients),
        account=row.account,
        sender=row.sender,
        meta=meta,
    )
