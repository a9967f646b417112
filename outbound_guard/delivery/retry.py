"""What a try to deliver leads to: who is done, who is tried again and when, who is given up. Pure."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat

import msgspec

from outbound_guard import config, reply
from outbound_guard.delivery.result import Result
from outbound_guard.reply import Reply
from outbound_guard.spool import Entry, Failure, Progress

_JITTER = 0.1
"""Waits are longer by up to this share, so that what failed together does not come back together."""
_LONGEST_UNREACHED = 60.0
"""Seconds. An outage of the next hop ends for all mail at once: the queue takes up what waits for it when it answers
again, and what the queue does not remember (it was started anew) waits not much longer."""


class Outcome(msgspec.Struct, frozen=True):
    """What one recipient was answered; `final` if it will not be tried again."""

    recipient: str
    reply: Reply
    final: bool
    peer: str = ""
    """The next hop that said so."""
    source: str = ""
    """The address of ours that it was spoken to from, where that is known."""


def settle(
    entry: Entry,
    progress: Progress,
    result: Result,
    now: float,
    delivery: config.Delivery,
    jitter: Callable[[], float],
) -> tuple[Progress, list[Outcome]]:
    """The progress after a try that came to `result`, and the outcome for each recipient tried, in order.

    `now` is in unix seconds; `jitter` yields numbers from 0 to 1. Only a 2xx counts as delivered and only a 5xx as
    refused; everything else, a missing reply too, is tried again until `delivery.expiry`.
    """
    tried = recipients_left(entry, progress)
    # Who was told when to come has not been tried yet.
    attempts = (progress.attempts or entry.attempts) + (not result.wait)
    started = progress.since or entry.received
    over = now >= started + delivery.expiry
    outcomes, left, replies, failed = [], [], {}, list(progress.failed)
    relayed = list(progress.relayed)
    for place, (recipient, said) in enumerate(zip(tried, chain(result.replies, repeat(reply.OUR_FAULT)), strict=False)):
        peer, source = result.peer_of(place), result.source_of(place)
        if said.accepted:
            outcomes.append(Outcome(recipient, said, True, peer, source))
            if place in result.relayed:
                relayed.append(Failure(recipient, said, peer, now))
        elif said.permanent:
            outcomes.append(Outcome(recipient, said, True, peer, source))
            failed.append(Failure(recipient, said, peer, now))
        elif over:
            given_up = reply.expired(now - started, said)
            outcomes.append(Outcome(recipient, given_up, True, peer, source))
            failed.append(Failure(recipient, given_up, peer, now))
        else:
            outcomes.append(Outcome(recipient, said, False, peer, source))
            left.append(recipient)
            replies[recipient] = said
    wait = delivery.retry[max(0, min(attempts, len(delivery.retry)) - 1)] if delivery.retry else _LONGEST_UNREACHED
    if result.wait:
        wait = result.wait
    elif not result.reached and not result.keep:
        wait = min(wait, _LONGEST_UNREACHED)
    due = min(now + wait * (1 + _JITTER * jitter()), max(now, started + delivery.expiry))
    # As long as all are left nothing is settled, and the progress says so.
    all_left = len(left) == len(entry.envelope.recipients)
    remaining = None if all_left else tuple(left)
    return (
        msgspec.structs.replace(
            progress,
            attempts=attempts,
            due=due,
            remaining=remaining,
            replies=replies,
            failed=tuple(failed),
            relayed=tuple(relayed),
        ),
        outcomes,
    )


def recipients_left(entry: Entry, progress: Progress) -> tuple[str, ...]:
    """The recipients that are neither delivered nor given up."""
    return entry.envelope.recipients if progress.remaining is None else progress.remaining
