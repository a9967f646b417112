"""What the sender of a queued message is to be told, and when: failures, success where nobody else tells it, delay."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from outbound_guard import config
from outbound_guard.delivery import dsn
from outbound_guard.delivery.bounce import may_bounce, wants
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.mail import Headers
from outbound_guard.reply import NO_NEXT_HOP
from outbound_guard.spool import Entry, Failure, Progress, last_reply

ASKED_DELAY = 14_400.0
"""Seconds until somebody who asked for NOTIFY=DELAY is told, where `delivery.delay_warning` is off."""
_OF_MAILINGS = ("list-id", "list-unsubscribe", "list-post")


class Report(msgspec.Struct, frozen=True):
    """A report that is due."""

    kind: dsn.Kind
    about: tuple[Failure, ...]
    until: float
    """When a delayed message is given up (unix seconds)."""
    told: Progress
    """The progress once the report is written."""


def reports(
    entry: Entry, progress: Progress, original: bytes, now: float, delivery: config.Delivery
) -> Iterator[Report]:
    """The reports that are due at `now` (unix seconds), what matters most first. Pure.

    Each comes with the progress to go on with when it is on the disk; a crash before that is noted repeats it.
    """
    if progress.failed:
        about, progress = progress.failed, msgspec.structs.replace(progress, failed=())
        yield Report(dsn.FAILED, about, 0.0, progress)
    if progress.relayed:
        about, progress = progress.relayed, msgspec.structs.replace(progress, relayed=())
        yield Report(dsn.RELAYED, about, 0.0, progress)
    if about := _delayed(entry, progress, original, now, delivery):
        until = (progress.since or entry.received) + delivery.expiry
        yield Report(dsn.DELAYED, about, until, msgspec.structs.replace(progress, warned=True))


def _delayed(
    entry: Entry, progress: Progress, original: bytes, now: float, delivery: config.Delivery
) -> tuple[Failure, ...]:
    """Those who wait for so long that the sender is to know: once for a message (RFC 3461 5.2.5)."""
    waited = now - (progress.since or entry.received)
    warning = delivery.delay_warning
    if progress.warned or waited < (warning or ASKED_DELAY) or not may_bounce(entry):
        return ()
    left = recipients_left(entry, progress)
    wanted = [to for to in left if wants(entry.envelope, to, dsn.DELAYED)]
    asked = [to for to in wanted if (of_it := entry.envelope.asked.get(to)) and of_it.notify]
    if len(asked) < len(wanted) and (not warning or _by_machine(original)):
        # RFC 3461 4.1 leaves it to us whether those are told who said nothing.
        wanted = asked
    return tuple(Failure(to, last_reply(entry, progress, to) or NO_NEXT_HOP, "", now) for to in wanted)


def _by_machine(content: bytes) -> bool:
    """True for mailings and what programs have written (RFC 3834 5, RFC 2919, RFC 2369): nobody waits for an answer."""
    headers = Headers(content)
    if any(name in headers for name in _OF_MAILINGS):
        return True
    if (headers.get("precedence") or "").strip().lower() in ("bulk", "list", "junk"):
        return True
    return (headers.get("auto-submitted") or "no").partition(";")[0].strip().lower() != "no"
