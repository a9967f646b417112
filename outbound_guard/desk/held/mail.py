"""Held mail: see it, let it go, or delete it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.config import Policy
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.held.acts import Act, perform, records, take, taken_back
from outbound_guard.desk.policy.why import Why, of_decision
from outbound_guard.ledger import directory_queries, queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.queries import Filters, Held
from outbound_guard.spool import Entry, NotInSpool, Spool

Teach = Callable[[Entry], Awaitable[object]]
"""Has the memory learn from what was decided about a message. What it raises is the caller's own business."""


async def held_list(ledger: Ledger, filters: Filters) -> list[Held]:
    """The messages that are held or in quarantine, oldest first. Raises LedgerError."""
    return await asyncio.to_thread(queries.held_list, ledger, filters)


async def held_show(ledger: Ledger, spool: Spool, id_: str, policy: Policy | None = None) -> dict[str, Any]:
    """All that is known about a held message, as of now.

    The fields of `Held`, then `decision` (with its `signals`, `deliveries` and `audit`) or None, `why`: what would have
    had to differ by this `policy` (desk.policy.why.Why), or None, and `in_spool`: the state it has in this
    machine's spool, or None. Raises DeskError if nothing is known or its file cannot be read, LedgerError.
    """
    row = await asyncio.to_thread(queries.held_one, ledger, id_)
    decision = await asyncio.to_thread(queries.decision_one, ledger, id_)
    why = await asyncio.to_thread(_why, ledger, decision, policy) if decision and policy else None
    try:
        entry, _, state = await spool.find(id_)
    except NotInSpool:
        if row is None:
            raise DeskError(f"no held message {id_}") from None
        return _shown(row, decision, None, why)
    except OSError as error:
        # It may lie there all the same; what cannot be known is not said.
        raise DeskError(f"{id_} cannot be read: {error.strerror or error}") from error
    return _shown(row or _held_from(entry, state), decision, state, why)


async def release(
    spool: Spool, journal: Journal, clock: Clock, id_: str, *, by: str, reason: str = "", teach: Teach | None = None
) -> Entry:
    """Let a held or quarantined message go: it is delivered as soon as the delivery process sees it.

    `teach` is called last; if it raises, the message has gone all the same. Raises DeskError.
    """
    return await _do("release", spool, journal, clock, id_, by, reason, teach)


async def delete(
    spool: Spool, journal: Journal, clock: Clock, id_: str, *, by: str, reason: str = "", teach: Teach | None = None
) -> Entry:
    """Delete a held or quarantined message for good; nobody is told. `teach` is called last. Raises DeskError."""
    return await _do("delete", spool, journal, clock, id_, by, reason, teach)


async def give_back(
    spool: Spool, journal: Journal, clock: Clock, id_: str, *, hostname: str, by: str, reason: str = ""
) -> Entry:
    """Return a held or quarantined message to its sender with a report (RFC 3464), signed `hostname`.

    Only to a sender that its account owns: DeskError otherwise, and the message stays. Raises DeskError.
    """
    return await _do("return", spool, journal, clock, id_, by, reason, None, hostname)


async def _do(
    act: Act,
    spool: Spool,
    journal: Journal,
    clock: Clock,
    id_: str,
    by: str,
    reason: str,
    teach: Teach | None,
    hostname: str = "",
) -> Entry:
    with await take(spool, id_, act) as message:
        now = clock.now()
        on_disk(journal, *records(act, id_, now, by, reason))
        try:
            await perform(act, spool, message, now, hostname)
        except OSError as error:
            record, why = taken_back(act, message, clock.now(), error)
            journal.append(record)
            raise why from error
    if teach is not None:
        await teach(message.entry)
    return message.entry


def _why(ledger: Ledger, decision: dict[str, Any], policy: Policy) -> Why | None:
    whose = decision["sender"], decision["account"]
    probation = directory_queries.on_probation(ledger, *whose, decision["received"])
    return of_decision(decision, policy, probation=probation)


def _shown(row: Held, decision: dict[str, Any] | None, state: str | None, why: Why | None) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(row)
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
