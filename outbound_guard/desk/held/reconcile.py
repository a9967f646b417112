"""After a crash the spool and the ledger can disagree about held mail. The spool is right about what exists; the ledger
is right about what people decided. Run when the console process starts, after the scribe has taken in the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from outbound_guard.clock import Clock
from outbound_guard.delivery.bounce import may_bounce
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.mail import delete, give_back, release
from outbound_guard.ledger import queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Decision, HeldChange, fingerprint_text
from outbound_guard.mail import Signal
from outbound_guard.spool import Entry, NotInSpool, Spool, State

_OPEN: tuple[State, ...] = ("held", "quarantine")
_DECIDED = ("released", "deleted", "returned")

log = logging.getLogger(__name__)


class Reconciled(msgspec.Struct):
    """What was put right, in messages."""

    found: int = 0
    """Held in the spool, unknown to the ledger: its record was lost."""
    finished: int = 0
    """Released, deleted or returned by the ledger, still held in the spool: now it is done."""
    corrected: int = 0
    """Held in both, but not in the same state."""
    gone: int = 0
    """Held by the ledger, no longer in the spool."""


async def reconcile(
    spool: Spool,
    ledger: Ledger,
    journal: Journal,
    clock: Clock,
    *,
    hostname: str,
    node: str = "",
    settle: float = 30.0,
    suspected: set[str] | None = None,
) -> Reconciled:
    """Bring spool and ledger together. What it finds goes through the journal. Raises LedgerError, OSError.

    `hostname` is who reports to senders. `node`: the name of this host, if others share the ledger; what they hold is
    their business, and what is known to lie elsewhere but is found here, since its file was moved, is this host's from
    now on. What was received in the last `settle` seconds is left alone, since its record may still be on its
    way. `suspected`, if given, is kept from one comparison to the next: only what was missing from the spool the time
    before is taken for gone, since the ledger hears of a release or deletion a second after the spool.
    """
    done = Reconciled()
    known = await asyncio.to_thread(queries.open_states, ledger, node)
    here = await asyncio.to_thread(_here, spool)
    recent = clock.now() - settle
    odd = [(id_, state) for id_, state in here.items() if known.get(id_) != state]
    # Only of those it is asked what became of them, or which host has them: most of what was ever held is long gone.
    states = await asyncio.to_thread(queries.held_states, ledger, [id_ for id_, _ in odd])
    for entry, state in await asyncio.to_thread(_entries, spool, odd):
        said = states.get(entry.id)
        if said in (None, state) and entry.received > recent:
            continue
        if said is None:
            journal.append(_decision(entry, state))
            done.found += 1
        elif said in _DECIDED and (said != "returned" or may_bounce(entry)):
            done.finished += await _finished(spool, journal, clock, entry.id, said, hostname)
        else:
            journal.append(
                HeldChange(id=entry.id, time=clock.now(), to=state, reason="found in the spool", due=entry.due)
            )
            done.corrected += 1
    missing = known.keys() - here.keys()
    for id_ in sorted(missing if suspected is None else missing & suspected):
        done.gone += await _gone(spool, journal, clock, id_)
    if suspected is not None:
        suspected.clear()
        suspected |= missing
    journal.flush(sync=True)
    return done


def _here(spool: Spool) -> dict[str, State]:
    return {id_: state for state in _OPEN for id_ in spool.files.ids(state)}


def _entries(spool: Spool, wanted: Iterable[tuple[str, State]]) -> list[tuple[Entry, State]]:
    found = ((spool.files.entry_or_none(id_, state), state) for id_, state in sorted(wanted))
    return [(entry, state) for entry, state in found if entry is not None]


async def _finished(spool: Spool, journal: Journal, clock: Clock, id_: str, said: str, hostname: str) -> bool:
    """Do what somebody had decided when the machine went down. A report may have gone out already: two are better."""
    reason = "finished after a restart"
    try:
        if said == "returned":
            await give_back(spool, journal, clock, id_, hostname=hostname, by="system", reason=reason)
        else:
            act = release if said == "released" else delete
            await act(spool, journal, clock, id_, by="system", reason=reason)
    except DeskError as error:
        log.warning("reconciling: %s", error)
        return False
    return True


async def _gone(spool: Spool, journal: Journal, clock: Clock, id_: str) -> bool:
    try:
        _, _, state = await spool.find(id_)
    except NotInSpool:
        to, reason = "missing", "no longer in the spool"
    else:
        if state in _OPEN:
            return False
        to, reason = "released", f"found in the spool, {state}"
    journal.append(HeldChange(id=id_, time=clock.now(), to=to, reason=reason))
    return True


def _decision(entry: Entry, state: str) -> Decision:
    """What the spool remembers of a decision. The single signals are lost, their sum is not."""
    reason = " | ".join(entry.reasons) or "the record was lost, only the sum is known"
    return Decision(
        id=entry.id,
        received=entry.received,
        account=entry.account,
        sender=entry.sender,
        source="spool",
        client_ip=entry.client_ip,
        mail_from=entry.envelope.mail_from,
        recipients=entry.envelope.recipients,
        subject=entry.subject,
        size=entry.size,
        action=entry.action,
        score=entry.score,
        code=entry.code,
        reason=reason,
        state=state,
        due=entry.due,
        signals=(Signal("recovered", entry.score, reason),),
        text=fingerprint_text(entry.fingerprint),
    )
