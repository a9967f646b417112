"""The queue: the heart of the delivery process. Takes in what is to be delivered, tries, retries, gives up aloud.

The truth is the spool; what is kept here, ids and times, can be lost at any instant. A message leaves the spool only
after every recipient is delivered, or its bounce is in the spool, or (where no bounce may be sent) its result is told.
So a crash loses nothing, and doubles only what the next hop was answering at that moment; a loss of power may double
the last deletions too (spool.py says how many). Who is next is the agenda's business (agenda.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from outbound_guard import config, reply
from outbound_guard.clock import Clock
from outbound_guard.delivery.bounce import write_report
from outbound_guard.delivery.dsn import DELAYED
from outbound_guard.delivery.lane import Lane
from outbound_guard.delivery.reporting import ASKED_DELAY, reports
from outbound_guard.delivery.result import Result
from outbound_guard.delivery.retry import Outcome, recipients_left, settle
from outbound_guard.delivery.review import OnReview, Review, Reviewer
from outbound_guard.delivery.telling import tell
from outbound_guard.delivery.turn import FINE, Outlook, Turn, places_of
from outbound_guard.delivery.withholding import send_to_rest
from outbound_guard.mail import Envelope, Verdict
from outbound_guard.spool import Busy, Entry, Lease, NotInSpool, Progress, Seen, Spool, State, due_of

Deliver = Callable[..., Awaitable[Result]]
"""Called with envelope, content in pieces, and what `way` says of the entry."""
OnResults = Callable[[Entry, Sequence[Outcome]], Awaitable[None] | None]
"""What has come of it for one recipient."""
Place = Callable[[Entry, tuple[str, ...]], str]
"""Where the mail for these recipients of a message goes: its destination, as `outlook` knows it."""
Wait = Callable[[asyncio.Event, float], Awaitable[None]]
"""Returns when the event is set or the seconds have passed."""

_POLL, _SOON = 0.25, 0.05
_HELD_SCAN = 5.0
_QUEUE_SCAN = 300.0
"""Seconds between looks into `incoming`, `held` and `queue`. Into `incoming` sooner after one that found something:
more may follow, and several are taken over with one look. That into `queue` is for what should not happen: a message
there that the index does not know."""
_CLAIM = 1000
_CHUNK = 500
_REVIEWS = 10
_DISK_WAIT = 30.0
"""Seconds until what the disk refused is tried again."""
_BUSY_WAIT = 5.0
_UNREADABLE_WAIT = 60.0
"""Seconds until a message is tried whose file the disk did not give."""

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
        withheld: Callable[[Entry, tuple[str, ...]], Mapping[int, reply.Reply]] = lambda *_: {},
        outgoing: Callable[[Entry, bytes], Sequence[bytes]] = lambda _, content: (content,),
        on_results: OnResults | None = None,
        on_review: OnReview | None = None,
        way: Callable[[Entry], tuple[str, ...]] = lambda _: (),
        destination: Place = lambda *_: "",
        outlook: Callable[[str], Outlook] = lambda _: FINE,
        concurrency: int = 100,
        wait: Wait = wait_for,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`deliver` makes one try; `review` judges a held message anew; `hold_expiry` in seconds.

        `stopped` says whether a queued message must not go out any more: it is moved to quarantine. `withheld` has
        the answer for recipients, by their place, who are not to be tried for. `outgoing` makes a message ready to go.
        `on_results` is told all replies of a try, `on_review` what became of held mail; what they raise is logged and
        changes nothing. `way` is what `deliver` is told besides: pool and class. `destination` and `outlook` (see
        Agenda) keep messages back that could only be told to come again. `concurrency` is the number of tries at a
        time; of large messages there are fewer (turn.py).
        """
        self._stopped, self._on_review = stopped, on_review
        self._withheld, self._outgoing = withheld, outgoing
        self._spool = spool
        self._deliver, self._way = deliver, way
        self._delivery = delivery
        self._clock = clock
        self._hostname = hostname
        self._on_results, self._destination = on_results, destination
        self._wait = wait
        self._jitter = jitter
        self._nudged = asyncio.Event()
        self._more = False
        """True if the last look into `incoming` found something."""
        self._stopping = False
        # What the disk refused to note; without it a recipient would get its message again.
        self._unsaved: dict[str, Progress] = {}
        # Due before the time that is noted, since their destination is back.
        self._hurried: set[str] = set()
        self._reviewer = Reviewer(
            spool,
            review,
            clock=clock,
            hostname=hostname,
            hold_expiry=hold_expiry,
            on_review=on_review,
            on_release=self._released,
        )
        self.deliveries = Lane(self._try, concurrency, clock, outlook)
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
            tidying = asyncio.create_task(self._tidy())
            try:
                while not self._stopping:
                    await self.turn()
                    await self._wait(self._nudged, self._pause())
                await self.deliveries.drain()
                await self.reviews.drain()
            finally:
                tidying.cancel()
                await self.deliveries.cancel()
                await self.reviews.cancel()

    async def _tidy(self) -> None:
        try:
            await self._spool.tidy()
        except OSError as error:
            _log.error("the spool cannot be tidied: %s", error)

    async def turn(self) -> None:
        """One look around: take in what is new and start on what is due."""
        self._nudged.clear()
        self._more = False
        try:
            await self._scan("queue", self.deliveries, _QUEUE_SCAN)
            claimed = await self._spool.claim(_CLAIM)
            for seen in claimed:
                # Of a message in `incoming` only people note something: they want it to be tried now.
                self.deliveries.agenda.put(seen.id, self._seen(seen, at_once=seen.progress.due is not None))
            self._more = bool(claimed)
            if len(claimed) == _CLAIM:
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
        return max(_SOON, min([_SOON if self._more else _POLL, *(time - self._clock.now() for time in times)]))

    async def _scan(self, state: State, lane: Lane, interval: float) -> None:
        """Bring the index up to date with a directory."""
        now, due = self._clock.now(), self._next_scan[state]
        if due - interval <= now < due:
            return
        if now < due:
            # The clock was set back: what was put off by the wrong one is read anew.
            lane.agenda.keep(set())
        ids = await self._spool.ids(state)
        if state == "held":
            # People release and delete.
            lane.agenda.keep(set(ids))
        new = [id_ for id_ in ids if id_ not in lane]
        noted = await self._spool.noted() if new else frozenset()
        for start in range(0, len(new), _CHUNK):
            for seen in await self._spool.seen(new[start : start + _CHUNK], state, noted):
                lane.agenda.put(seen.id, self._reviewer.turn(seen) if state == "held" else self._seen(seen))
            # Delivery goes on while a long list is read.
            lane.start_due()
        self._next_scan[state] = now + interval

    def _released(self, entry: Entry, progress: Progress) -> None:
        self.deliveries.agenda.put(entry.id, self._turn(entry, progress))
        self.deliveries.start_due()

    def _seen(self, seen: Seen, *, at_once: bool = False) -> Turn:
        if seen.entry is None:
            return Turn(self._clock.now() + _UNREADABLE_WAIT)
        turn = self._turn(seen.entry, seen.progress)
        return turn._replace(latest=turn.due) if at_once else turn

    def _turn(self, entry: Entry, progress: Progress) -> Turn:
        """When a message has its turn, among those of its account and for its destination."""
        due, started = self._due(entry, progress), progress.since or entry.received
        # What waits for its destination must expire all the same, and its sender hear that it takes long.
        latest = started + self._delivery.expiry
        if not progress.warned:
            warning = started + (self._delivery.delay_warning or ASKED_DELAY)
            latest = min(latest, warning) if warning > max(due, self._clock.now()) else latest
        place = self._destination(entry, recipients_left(entry, progress))
        return Turn(due, entry.account or entry.sender, place, max(due, latest), places=places_of(entry.size))

    def _due(self, entry: Entry, progress: Progress) -> float:
        """When a message is due; what was put off for longer than it may wait in all was so by a wrong clock."""
        due = due_of(entry, progress)
        return due if due <= self._clock.now() + self._delivery.expiry else 0.0

    async def _try(self, id_: str) -> Turn | None:
        """One try for one message; returns its next turn, or None if it is done with."""
        try:
            message = await self._spool.lease(id_, "queue")
        except NotInSpool:
            self._unsaved.pop(id_, None)
            self._hurried.discard(id_)
            return None
        except Busy:
            return Turn(self._clock.now() + _BUSY_WAIT)
        with message:
            entry, progress = message.entry, self._unsaved.get(id_, message.progress)
            left = recipients_left(entry, progress)
            stranded, hurried = False, id_ in self._hurried
            self._hurried.discard(id_)
            if left and self._stopped and not progress.released and self._stopped(entry):
                await self._pull_back(message)
                return None
            if left and (hurried or self._due(entry, progress) <= self._clock.now()):
                envelope = entry.envelope
                if len(left) < len(envelope.recipients):
                    envelope = msgspec.structs.replace(envelope, recipients=left)
                result = await self._result(entry, envelope, message.content)
                progress, outcomes = settle(entry, progress, result, self._clock.now(), self._delivery, self._jitter)
                # From here on the disk may fail, and the process may not forget.
                self._unsaved[id_] = progress
                place = self._destination(entry, left)
                if result.reached:
                    self._hurried.update(self.deliveries.agenda.answered(place, self._clock.now()))
                stranded = bool(place) and _stranded(result)
                await self._tell(entry, outcomes)
            elif id_ not in self._unsaved and left and not (progress.failed or progress.relayed):
                return self._turn(entry, progress)
            try:
                noted = await self._note(message, progress)
            except OSError as error:
                _log.error("%s: its progress cannot be written: %s", id_, error)
                return self._turn(entry, progress)._replace(due=self._clock.now() + _DISK_WAIT)
            self._unsaved.pop(id_, None)
            return self._turn(entry, noted)._replace(stranded=stranded) if noted else None

    async def _pull_back(self, message: Lease) -> None:
        """Keep a message whose sender was convicted after it was queued."""
        await message.move("quarantine")
        if self._on_review:
            why = Verdict(
                "quarantine", message.entry.score, "suspended", (), "its sender was suspended while it was queued"
            )
            await tell(message.entry.id, "that it was pulled back", self._on_review, message.entry, why, "quarantined")

    async def _result(self, entry: Entry, envelope: Envelope, content: bytes) -> Result:
        try:
            pieces = self._outgoing(entry, content)
            known = self._withheld(entry, envelope.recipients)
            return await send_to_rest(known, envelope, lambda rest: self._deliver(rest, pieces, *self._way(entry)))
        except Exception:
            # 451 for every recipient, which is counted as deferred: it is tried again.
            _log.exception("delivery has failed")
            return Result((reply.OUR_FAULT,) * len(envelope.recipients), "", reached=False)

    async def _note(self, message: Lease, progress: Progress) -> Progress | None:
        """Write down what has come of a try; None: nothing is left. First the bounce, then the progress: twice is
        better than never."""
        entry = message.entry
        try:
            progress = await self._report(message, progress)
            if not recipients_left(entry, progress):
                await message.remove()
                return None
        except OSError:
            # This will be tried again; but those who have the message must not get it again, not even after a crash.
            await message.save(self._unsaved.get(entry.id, progress))
            raise
        await message.save(progress)
        return progress

    async def _report(self, message: Lease, progress: Progress) -> Progress:
        """Write the reports that are due; the progress without them. Raises OSError."""
        entry, now = message.entry, self._clock.now()
        for one in reports(entry, progress, message.content, now, self._delivery):
            try:
                await write_report(
                    self._spool,
                    entry,
                    one.kind,
                    one.about,
                    message.content,
                    hostname=self._hostname,
                    now=now,
                    until=one.until,
                )
            except OSError as error:
                if one.kind is not DELAYED:
                    raise
                # That it takes long can be said with the next try.
                _log.warning("%s: that it is delayed cannot be reported now: %s", entry.id, error)
                break
            progress = self._unsaved[entry.id] = one.told
            self._nudged.set()
        return progress

    async def _tell(self, entry: Entry, outcomes: Sequence[Outcome]) -> None:
        if self._on_results and outcomes:
            await tell(entry.id, "the results of a try", self._on_results, entry, outcomes)


def _stranded(result: Result) -> bool:
    """True if nobody was there. What broke while it was sent, or by a fault of ours, is no reason for more haste."""
    found_nobody = not (result.reached or result.peer)
    return found_nobody and not (result.wait or result.listed or reply.OUR_FAULT in result.replies)
