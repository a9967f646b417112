"""Reports into the queue: one is an ordinary message of the spool, with the null sender."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from outbound_guard.delivery import dsn
from outbound_guard.mail import Envelope, new_id
from outbound_guard.spool import Entry, Failure, Spool

CODE = "bounce"
"""The `code` of the entries that are reports."""


def may_bounce(entry: Entry) -> bool:
    """True if the sender may be written to: its account owns the address, and it is not the null sender.

    RFC 5321 6.1: no report about a report; and none to a forged address, which would be backscatter.
    """
    return bool(entry.bounce_to and entry.envelope.mail_from)


def wants(envelope: Envelope, recipient: str, kind: dsn.Kind) -> bool:
    """True if the client wants to be told that of this recipient (RFC 3461 4.1).

    Of whom nothing was said failures are told, and delays, which the standard leaves to us. Success is told only if it
    was asked for.
    """
    asked = envelope.asked.get(recipient)
    if asked is None or not asked.notify:
        return kind is not dsn.RELAYED
    return _WORDS[kind.action] in asked.notify


_WORDS = {dsn.FAILED.action: "FAILURE", dsn.DELAYED.action: "DELAY", dsn.RELAYED.action: "SUCCESS"}


async def write_bounce(
    spool: Spool, entry: Entry, failures: Sequence[Failure], original: bytes, *, hostname: str, now: float
) -> str | None:
    """Put a report about `failures` into the spool and return its id; None if nobody may, or wants to, be written to.

    `original` is the message, `now` the time in unix seconds. Returns when the report is on the disk; raises OSError.
    """
    return await write_report(spool, entry, dsn.FAILED, failures, original, hostname=hostname, now=now)


async def write_report(
    spool: Spool,
    entry: Entry,
    kind: dsn.Kind,
    told: Sequence[Failure],
    original: bytes,
    *,
    hostname: str,
    now: float,
    until: float = 0.0,
) -> str | None:
    """`write_bounce` for a report of any kind. `until`: when a delayed message is given up (unix seconds)."""
    told = [one for one in told if wants(entry.envelope, one.recipient, kind)]
    if not told or not may_bounce(entry):
        return None
    id_ = new_id(now)
    # In a thread: it can be about a thousand recipients, each with what was said of it.
    content = await asyncio.to_thread(
        dsn.report,
        id_,
        now,
        hostname,
        entry.bounce_to,
        told,
        original,
        entry.received,
        original_id=entry.id,
        utf8=entry.envelope.smtputf8 or not entry.bounce_to.isascii(),
        envelope=entry.envelope,
        kind=kind,
        until=until,
    )
    report = Entry(
        id=id_,
        received=now,
        # RFC 5321 4.5.5: reports go out with the null sender.
        envelope=Envelope("", (entry.bounce_to,), smtputf8=not entry.bounce_to.isascii()),
        account=entry.account,
        sender=entry.sender,
        subject=kind.subject,
        code=CODE,
        due=now,
        meta={"about": entry.id, "report": kind.action},
    )
    # Only what has gone wrong may use the last of the disk.
    await spool.put(report, (content,), "incoming", reserve=kind is dsn.FAILED)
    return id_
