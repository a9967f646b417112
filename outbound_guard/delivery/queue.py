"""The queue: the heart of the delivery process. Takes in what is to be delivered, tries, retries, gives up aloud.

The truth is the spool; what is kept here, ids and times, can be lost at any instant. A message leaves the spool only
after every recipient is delivered, or its bounce is in the spool, or (where no bounce may be sent) its result is told.
So a crash loses nothing, and doubles only what the next hop was answering at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from outbound_guard import config, reply
from outbound_guard.clock import Clock
from outbound_guard.delivery.agenda import Lane
from outbound_guard.delivery.bounce import write_bounce
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.retry import Outcome, recipients_left, settle
from outbound_guard.delivery.review import OnReview, Review, Reviewer
from outbound_guard.delivery.telling import tell
from outbound_guard.mail import Envelope, Verdict
from outbound_guard.spool import Busy, Entry, Lease, NotInSpool, Progress, Spool, State, due_of

Deliver = Callable[[Envelope, Sequence[bytes]], Awaitable[Result]]
OnResult = Callable[[Entry, Outcome], Awaitable[None] | None]
"""What has come of it for one recipient."""
Wait = Callable[[asyncio.Event, float], Awaitable[None]]
"""Returns when the event is set or the seconds have passed."""

_POLL = 1.0
_HELD_SCAN = 5.0
_QUEUE_SCAN = 300.0
"""Seconds between looks into `incoming`, `held` and `queue`. The last is for what should not happen: a message there
that the index does not know."""
_CHUNK = 500
_REVIEWS = 10
_DISK_WAIT = 30.0
"""Seconds until what the disk refused is tried again."""
_BUSY_WAIT = 5.0

_log = logging.getLogger(__name__)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the seconds have passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Queue:
    """Delivers what lies in the spool. One a spool: `run` raises SpoolInUse if there is another."""

    def __init__(
        self,
        spool: Spool,
        deliver: Deliver,
        *,
        delivery: config.Delivery,
        hold_expiry: float,
        clock: Clock,
        hostname: str,
        review: Review,
        stopped: Callable[[Entry], bool] | None = None,
        on_result: OnResult | None = None,
        on_review: OnReview | None = None,
        concurrency: int = 50,
        wait: Wait = wait_for,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`deliver` makes one try; `review` judges a held message anew; `hold_expiry` in seconds.

        `stopped` says whether a queued message must not go out any more: it is moved to quarantine.
        `on_result` is told every reply, `on_review` what became of held mail; what they raise is logged and changes
        nothing. `concurrency` is the number of tries at a time.
        """
        self._stopped, self._on_review = stopped, on_review
        self._spool = spool
        self._deliver = deliver
        self._delivery = delivery
        self._clock = clock
        self._hostname = hostname
        self._on_result = on_result
        self._wait = wait
        self._jitter = jitter
        self._nudged = asyncio.Event()
        self._stopping = False
        # What the disk refused to note; without it a recipient would get its message again.
        self._unsaved: dict[str, Progress] = {}
        self._reviewer = Reviewer(
            spool,
            review,
            clock=clock,
            hostname=hostname,
            hold_expiry=hold_expiry,
            on_review=on_review,
            on_release=self._released,
        )
        self.deliveries = Lane(self._try, concurrency, clock)
        self.reviews = Lane(self._reviewer.work, _REVIEWS, clock)
        self._next_scan: dict[State, float] = {"queue": 0.0, "held": 0.0}

    def nudge(self) -> None:
        """There is something new in `incoming`: do not wait for the next look."""
        self._nudged.set()

    def stop(self) -> None:
        """Let `run` finish what is in flight and return."""
        self._stopping = True
        self._nudged.set()

    async def run(self) -> None:
        """Deliver until `stop` or until cancelled; the latter breaks off what is in flight (nothing is lost)."""
        with self._spool.exclusive():
            try:
                while not self._stopping:
                    await self.turn()
                    await self._wait(self._nudged, self._pause())
                await self.deliveries.drain()
                await self.reviews.drain()
            finally:
                await self.deliveries.cancel()
                await self.reviews.cancel()

    async def turn(self) -> None:
        """One look around: take in what is new and start on what is due."""
        self._nudged.clear()
        try:
            await self._scan("queue", self.deliveries, _QUEUE_SCAN)
            claimed = await self._spool.claim()
            for id_, due in claimed:
                self.deliveries.agenda.put(id_, due)
            if claimed:
                # There may be more than one claim takes; and what is new now is often followed by more.
                self._nudged.set()
            await self._scan("held", self.reviews, _HELD_SCAN)
        except OSError as error:
            _log.error("the spool cannot be read: %s", error)
        self.deliveries.start_due()
        self.reviews.start_due()

    async def settled(self) -> None:
        """Return when nothing is in flight."""
        await self.deliveries.settled()
        await self.reviews.settled()

    def _pause(self) -> float:
        times = [time for lane in (self.deliveries, self.reviews) if (time := lane.next_due()) is not None]
        return max(0.01, min([_POLL, *(time - self._clock.now() for time in times)]))

    async def _scan(self, state: State, lane: Lane, interval: float) -> None:
        """Bring the index up to date with a directory."""
        now = self._clock.now()
        if now < self._next_scan[state]:
            return
        ids = await self._spool.ids(state)
        if state == "held":
            # People release and delete.
            lane.agenda.keep(set(ids))
        new = [id_ for id_ in ids if id_ not in lane]
        for start in range(0, len(new), _CHUNK):
            for id_, due, received in await self._spool.times(new[start : start + _CHUNK], state):
                lane.agenda.put(id_, self._reviewer.time(due, received) if state == "held" else due)
            # Delivery goes on while a long list is read.
            lane.start_due()
        self._next_scan[state] = now + interval

    def _released(self, id_: str) -> None:
        self.deliveries.agenda.put(id_, self._clock.now())
        self.deliveries.start_due()

    async def _try(self, id_: str) -> float | None:
        """One try for one message; returns when to try again (unix seconds), or None if it is done with."""
        try:
            message = await self._spool.lease(id_, "queue")
        except NotInSpool:
            self._unsaved.pop(id_, None)
            return None
        except Busy:
            return self._clock.now() + _BUSY_WAIT
        with message:
            entry, progress = message.entry, self._unsaved.get(id_, message.progress)
            left = recipients_left(entry, progress)
            due = due_of(entry, progress)
            if left and self._stopped and self._stopped(entry):
                await self._pull_back(message)
                return None
            if left and due <= self._clock.now():
                result = await self._result(msgspec.structs.replace(entry.envelope, recipients=left), message.content)
                progress, outcomes = settle(entry, progress, result, self._clock.now(), self._delivery, self._jitter)
                # From here on the disk may fail, and the process may not forget.
                self._unsaved[id_] = progress
                await self._tell(entry, outcomes)
            elif id_ not in self._unsaved and left and not progress.failed:
                return due
            try:
                due_again = await self._note(message, progress)
            except OSError as error:
                _log.error("%s: its progress cannot be written: %s", id_, error)
                return self._clock.now() + _DISK_WAIT
            self._unsaved.pop(id_, None)
            return due_again

    async def _pull_back(self, message: Lease) -> None:
        """Keep a message whose sender was convicted after it was queued."""
        await message.move("quarantine")
        if self._on_review:
            why = Verdict(
                "quarantine", message.entry.score, "suspended", (), "its sender was suspended while it was queued"
            )
            await tell(message.entry.id, "that it was pulled back", self._on_review, message.entry, why, "quarantined")

    async def _result(self, envelope: Envelope, content: bytes) -> Result:
        try:
            return await self._deliver(envelope, (content,))
        except Exception:
            # 451 for every recipient, which is counted as deferred: it is tried again.
            _log.exception("delivery has failed")
            return Result((reply.OUR_FAULT,) * len(envelope.recipients), "", reached=False)

    async def _note(self, message: Lease, progress: Progress) -> float | None:
        """Write down what has come of a try. First the bounce, then the progress: twice is better than never."""
        entry = message.entry
        try:
            if progress.failed:
                await write_bounce(
                    self._spool, entry, progress.failed, message.content, hostname=self._hostname, now=self._clock.now()
                )
                progress = msgspec.structs.replace(progress, failed=())
                self._unsaved[entry.id] = progress
                self._nudged.set()
            if not recipients_left(entry, progress):
                await message.remove()
                return None
        except OSError:
            # This will be tried again; but those who have the message must not get it again, not even after a crash.
            await message.save(progress)
            raise
        await message.save(progress)
        return due_of(entry, progress)

    async def _tell(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        if not self._on_result:
            return
        for outcome in outcomes:
            await tell(entry.id, "the result for a recipient", self._on_result, entry, outcome)
