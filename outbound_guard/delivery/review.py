"""Held mail: what was held for a time is judged anew; what waits for a person too long goes back to its sender."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from outbound_guard import reply
from outbound_guard.clock import Clock
from outbound_guard.delivery.bounce import may_bounce, write_bounce
from outbound_guard.delivery.retry import recipients_left
from outbound_guard.delivery.telling import tell
from outbound_guard.delivery.turn import Turn, places_of
from outbound_guard.mail import Verdict
from outbound_guard.reply import Reply
from outbound_guard.spool import Busy, Entry, Failure, Lease, NotInSpool, Progress, Seen, Spool, due_of

Review = Callable[[Entry, bytes], Awaitable[Verdict]]
OnReview = Callable[[Entry, Verdict | None, str], Awaitable[None] | None]
"""Entry, verdict (None: the hold expired), and what became of it: released | held | returned | quarantined."""

_BUSY_WAIT = 5.0
_UNREADABLE_WAIT = 60.0
_DEFAULT_WAIT = 900.0
"""Seconds; for a verdict that names none and does not ask for a person."""

_log = logging.getLogger(__name__)


class Reviewer:
    """Takes held messages up when they are due."""

    def __init__(
        self,
        spool: Spool,
        review: Review,
        *,
        clock: Clock,
        hostname: str,
        hold_expiry: float,
        on_review: OnReview | None,
        on_release: Callable[[Entry, Progress], None],
    ) -> None:
        """`hold_expiry`: seconds a message may wait for a person. `on_release` gets a message to deliver."""
        self._spool = spool
        self._review = review
        self._clock = clock
        self._hostname = hostname
        self._hold_expiry = hold_expiry
        self._on_review = on_review
        self._on_release = on_release

    def time(self, due: float, received: float) -> float:
        """When a held message is to be taken up (unix seconds): when due, or when the wait for a person ends."""
        return due or received + self._hold_expiry

    def turn(self, seen: Seen) -> Turn:
        """When a held message has its turn."""
        if seen.entry is None:
            return Turn(self._clock.now() + _UNREADABLE_WAIT)
        return _turn(seen.entry, self.time(due_of(seen.entry, seen.progress), seen.entry.received))

    async def work(self, id_: str) -> Turn | None:
        """Look at one held message; returns when to look again, or None if it is held no more."""
        try:
            message = await self._spool.lease(id_, "held")
        except NotInSpool:
            return None
        except Busy:
            return Turn(self._clock.now() + _BUSY_WAIT)
        with message:
            entry = message.entry
            due = due_of(entry, message.progress)
            time = self.time(due, entry.received)
            if time > self._clock.now():
                return _turn(entry, time)
            if not due:
                await self._give_back(message, None, reply.hold_expired(self._hold_expiry))
                return None
            again = await self._judge(message, await self._review(entry, message.content))
        if message.state == "queue":
            # Only now that the lease has been given back can it be delivered.
            self._on_release(entry, message.progress)
        return _turn(entry, again) if again is not None else None

    async def _judge(self, message: Lease, verdict: Verdict) -> float | None:
        now = self._clock.now()
        if verdict.action == "relay":
            await message.save(msgspec.structs.replace(message.progress, due=now, since=now))
            await message.move("queue")
            await self._tell(message.entry, verdict, "released")
            return None
        if verdict.action == "quarantine":
            await message.move("quarantine")
            await self._tell(message.entry, verdict, "quarantined")
            return None
        if verdict.action == "reject":
            await self._give_back(
                message, verdict, reply.refused(verdict.code, "refused after review", message.entry.id)
            )
            return None
        # Hold, and defer, which cannot be said any more to a client that has its 250.
        wait = verdict.wait or (0.0 if verdict.action == "hold" else _DEFAULT_WAIT)
        due = now + wait if wait > 0 else 0.0
        await message.save(msgspec.structs.replace(message.progress, due=due))
        await self._tell(message.entry, verdict, "held")
        return self.time(due, message.entry.received)

    async def _give_back(self, message: Lease, verdict: Verdict | None, why: Reply) -> None:
        """Return the message to a sender that the account owns; any other stays in quarantine. Nothing vanishes."""
        entry, now = message.entry, self._clock.now()
        if may_bounce(entry):
            # Mail that was taken out of the queue may have reached some of its recipients before.
            left = recipients_left(entry, message.progress)
            failures = [Failure(recipient, why, "", now) for recipient in left]
            await write_bounce(self._spool, entry, failures, message.content, hostname=self._hostname, now=now)
            await message.remove()
            await self._tell(entry, verdict, "returned")
        else:
            await message.move("quarantine")
            await self._tell(entry, verdict, "quarantined")

    async def _tell(self, entry: Entry, verdict: Verdict | None, outcome: str) -> None:
        if self._on_review:
            await tell(entry.id, f"that it was {outcome}", self._on_review, entry, verdict, outcome)


def _turn(entry: Entry, due: float) -> Turn:
    return Turn(due, places=places_of(entry.size))
