"""Held mail: see it, let it go, or delete it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Policy
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.why import of_decision
from outbound_guard.ledger import queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.queries import Filters, Held
from outbound_guard.ledger.records import Audit, HeldChange
from outbound_guard.spool import Busy, Entry, Lease, NotInSpool, Spool

Teach = Callable[[Entry], Awaitable[object]]
"""Has the memory learn from what was decided about a message. What it raises is the caller's own business."""
_OPEN = ("held", "quarantine")


async def held_list(ledger: Ledger, filters: Filters) -> list[Held]:
    """The messages that are held or in quarantine, oldest first. Raises LedgerError."""
    return await asyncio.to_thread(queries.held_list, ledger, filters)


async def held_show(ledger: Ledger, spool: Spool, id_: str, policy: Policy | None = None) -> dict[str, Any]:
    """All that is known about a held message, as of now.

    The fields of `Held`, then `decision` (with its `signals`, `deliveries` and `audit`) or None, `why`: what would have
    had to differ by this `policy` (desk.why.Why), or None, and `in_spool`: the state it has in this machine's spool, or
    None. Raises DeskError if nothing is known, LedgerError.
    """
    row = await asyncio.to_thread(queries.held_one, ledger, id_)
    decision = await asyncio.to_thread(queries.decision_one, ledger, id_)
    try:
        entry, _, state = await spool.find(id_)
    except NotInSpool:
        if row is None:
            raise DeskError(f"no held message {id_}") from None
        return _shown(row, decision, None, policy)
    return _shown(row or _held_from(entry, state), decision, state, policy)


async def release(
    spool: Spool, journal: Journal, clock: Clock, id_: str, *, by: str, reason: str = "", teach: Teach | None = None
) -> Entry:
    """Let a held or quarantined message go: it is delivered as soon as the delivery process sees it.

    `teach` is called last; if it raises, the message has gone all the same. Raises DeskError.
    """
    async with _taken(spool, id_) as message:
        now = clock.now()
        on_disk(
            journal,
            HeldChange(id=id_, time=now, to="released", by=by, reason=reason),
            Audit(time=now, by=by, what="held.release", subject=id_, detail=reason),
        )
        async with _undone(journal, clock, message, "released"):
            # Its time in the queue begins now.
            await message.save(msgspec.structs.replace(message.progress, due=now, since=now))
            await message.move("incoming")
    if teach is not None:
        await teach(message.entry)
    return message.entry


async def delete(
    spool: Spool, journal: Journal, clock: Clock, id_: str, *, by: str, reason: str = "", teach: Teach | None = None
) -> Entry:
    """Delete a held or quarantined message for good; nobody is told. `teach` is called last. Raises DeskError."""
    async with _taken(spool, id_) as message:
        now = clock.now()
        on_disk(
            journal,
            HeldChange(id=id_, time=now, to="deleted", by=by, reason=reason),
            Audit(time=now, by=by, what="held.delete", subject=id_, detail=reason),
        )
        async with _undone(journal, clock, message, "deleted"):
            await message.remove()
    if teach is not None:
        await teach(message.entry)
    return message.entry


@asynccontextmanager
async def _taken(spool: Spool, id_: str) -> AsyncIterator[Lease]:
    """A held message that nobody else can touch. Raises DeskError."""
    try:
        _, _, state = await spool.find(id_)
        if state not in _OPEN:
            raise DeskError(f"{id_} is not held any more: it is being delivered")
        message = await spool.lease(id_, state)
    except NotInSpool:
        raise DeskError(f"no held message {id_} in this machine's spool") from None
    except Busy:
        raise DeskError(f"{id_} is in somebody else's hands right now; try again") from None
    except OSError as error:
        raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
    with message:
        yield message


@asynccontextmanager
async def _undone(journal: Journal, clock: Clock, message: Lease, what: str) -> AsyncIterator[None]:
    """If the act fails, say in the journal that the message is where it was. Raises DeskError then."""
    try:
        yield
    except OSError as error:
        why = f"could not be {what}: {error.strerror or error}"
        journal.append(
            HeldChange(
                id=message.entry.id, time=clock.now(), to=message.state, reason=why, due=message.progress.due or 0.0
            )
        )
        raise DeskError(f"{message.entry.id} {why}") from error


def _shown(row: Held, decision: dict[str, Any] | None, state: str | None, policy: Policy | None) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(row)
    why = of_decision(decision, policy) if decision and policy else None
    return shown | {"decision": decision, "why": msgspec.to_builtins(why), "in_spool": state}


def _held_from(entry: Entry, state: str) -> Held:
    return Held(
        id=entry.id,
        received=entry.received,
        account=entry.account,
        sender=entry.sender,
        mail_from=entry.envelope.mail_from,
        recipients=entry.envelope.recipients,
        subject=entry.subject,
        action=entry.action,
        score=entry.score,
        reasons=entry.reasons,
        state=state,
        due=entry.due,
        changed=entry.received,
        changed_by="system",
        change_reason="",
    )
