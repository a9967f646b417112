"""Bounces into the queue: a report is an ordinary message of the spool, with the null sender."""

from __future__ import annotations

from collections.abc import Sequence

from outbound_guard.delivery import dsn
from outbound_guard.mail import Envelope, new_id
from outbound_guard.spool import Entry, Failure, Spool

CODE = "bounce"
"""The `code` of the entries that are bounces."""


def may_bounce(entry: Entry) -> bool:
    """True if the sender may be written to: its account owns the address, and it is not the null sender.

    RFC 5321 6.1: no report about a report; and none to a forged address, which would be backscatter.
    """
    return bool(entry.bounce_to and entry.envelope.mail_from)


def wants_failures(envelope: Envelope, recipient: str) -> bool:
    """False if the client asked not to be told that this recipient did not get the message (RFC 3461 4.1)."""
    asked = envelope.asked.get(recipient)
    return asked is None or not asked.notify or "FAILURE" in asked.notify


async def write_bounce(
    spool: Spool, entry: Entry, failures: Sequence[Failure], original: bytes, *, hostname: str, now: float
) -> str | None:
    """Put a report about `failures` into the spool and return its id; None if nobody may, or wants to, be written to.

    `original` is the message, `now` the time in unix seconds. Returns when the report is on the disk; raises OSError.
    """
    failures = [failure for failure in failures if wants_failures(entry.envelope, failure.recipient)]
    if not failures or not may_bounce(entry):
        return None
    id_ = new_id(now)
    content = dsn.report(
        id_,
        now,
        hostname,
        entry.bounce_to,
        failures,
        original,
        entry.received,
        original_id=entry.id,
        utf8=entry.envelope.smtputf8 or not entry.bounce_to.isascii(),
        envelope=entry.envelope,
    )
    bounce = Entry(
        id=id_,
        received=now,
        # RFC 5321 4.5.5: reports go out with the null sender.
        envelope=Envelope("", (entry.bounce_to,), smtputf8=not entry.bounce_to.isascii()),
        account=entry.account,
        sender=entry.sender,
        subject="Your message could not be delivered",
        code=CODE,
        due=now,
        meta={"about": entry.id},
    )
    await spool.put(bounce, (content,), "incoming", reserve=True)
    return id_
