"""What logs and records of next hops say, put together with our messages and taken in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from outbound_guard.feedback import kumo
from outbound_guard.feedback.attributing import attribute, recipient_of
from outbound_guard.feedback.findings import findings, result
from outbound_guard.feedback.following import Follower, Position
from outbound_guard.feedback.intake import Intake
from outbound_guard.feedback.matching import QueueIds, Result
from outbound_guard.feedback.postfix import Postfix
from outbound_guard.ledger import feedback_queries
from outbound_guard.ledger.feedback_queries import Message
from outbound_guard.ledger.records import Feedback

LAG = 4.0
"""Seconds that a line waits, so that the ledger knows the message it is about."""
YOUNG = 10.0
"""Seconds from an event within which the ledger may not know its message yet."""
_WAITING = 50_000
"""Lines that wait at most; then no more are read for the moment."""


class Told(msgspec.Struct, frozen=True):
    """What logs or records said."""

    found: tuple[Feedback, ...]
    """Findings that the ledger does not know yet."""
    counts: Counter[str]
    """Lines or records by what became of them: matched | unmatched (not ours) | passed_on (to a filter of its own) |
    other (about something else) | broken | cut."""
    young: bool = False
    """Some were not matched and are so new that the ledger may not know their message yet."""


class Log:
    """A log that is followed."""

    def __init__(self, path: Path, intake: Intake, *, from_start: bool = False) -> None:
        """`from_start`: when it is first followed, read what it has already."""
        self._intake, self._queue_ids = intake, intake.queue_ids
        self.follower = Follower(path, _position_file(intake, path), from_start=from_start)
        self._postfix = Postfix()
        self._waiting: list[tuple[float, str, Position]] = []
        self._ripe = 0
        self._source = f"log {path.name}"

    def look(self, now: float, lag: float = LAG) -> Told:
        """What has come in and waited long enough; `now`: unix seconds. May run in a thread.

        Raises OSError (the log), LedgerError; then it is looked at again the next time.
        """
        cut = self.follower.skipped
        if len(self._waiting) < _WAITING:
            self._waiting += [(now, line, position) for line, position in self.follower.lines()]
        lines = [line for met, line, _ in self._waiting if not 0 <= now - met < lag]
        self._ripe = len(lines)
        counts: Counter[str] = Counter(cut=self.follower.skipped - cut)
        told = [found for line in lines if (found := self._postfix.read(line, now)) is not None]
        if told:
            self._queue_ids.refresh(now)
        counts["other"] = len(lines) - len(told)
        ours = matched(told, self._intake, self._queue_ids, now, self._source, counts)
        return Told(self._intake.fresh(ours), +counts)

    def note(self, told: Told) -> int:
        """Write down what `look` has found: how much of it was new. Raises OSError; then `look` finds it again."""
        new = self._intake.write(told.found)
        if self._ripe:
            self.follower.keep(self._waiting[self._ripe - 1][2])
            self._waiting = self._waiting[self._ripe :]
            self._ripe = 0
        return new


class TooMany(Exception):  # noqa: N818 -- it says what there are.
    """More records in one go than are taken."""


def look_at_records(content: bytes, intake: Intake, source: str, most: int | None = None) -> Told:
    """What records of KumoMTA's shape say, JSON lines or an array; to be written down with `intake.write(told.found)`.

    Who hands them in must be trusted: they count as what a next hop of ours says. `most`: records at a time. May run
    in a thread. Raises LedgerError, TooMany.
    """
    now, queue_ids = intake.clock.now(), intake.queue_ids
    queue_ids.refresh(now)
    counts: Counter[str] = Counter()
    results: list[Result] = []
    found: list[Feedback] = []
    for number, record in enumerate(kumo.records(content)):
        if most is not None and number >= most:
            raise TooMany
        if record is None:
            counts["broken"] += 1
        elif (report := kumo.complaint(record)) is not None:
            attribution = attribute(report, intake.ledger, intake.tokens, now)
            found += findings(report, attribution, now, source, trusted=True)
            counts["matched" if attribution.message else "unmatched"] += 1
        else:
            said = kumo.results(record, now)
            counts["other"] += not said
            results += said
    found += matched(results, intake, queue_ids, now, source, counts)
    young = bool(counts["unmatched"]) and any(now - one.time < YOUNG for one in results)
    return Told(intake.fresh(found), +counts, young)


def look_at_lines(content: bytes, postfix: Postfix, now: float, most: int) -> list[Result]:
    """What lines of a Postfix log say; for `look_at_results`. `postfix` has read those before; `now`: unix seconds.

    Raises TooMany.
    """
    lines = content.decode("utf-8", "replace").splitlines()
    if len(lines) > most:
        raise TooMany
    return [found for line in lines if (found := postfix.read(line, now)) is not None]


def look_at_results(results: Sequence[Result], intake: Intake, source: str) -> Told:
    """What results amount to; the rest as for `look_at_records`. Raises LedgerError."""
    now = intake.clock.now()
    intake.queue_ids.refresh(now)
    counts: Counter[str] = Counter()
    found = matched(results, intake, intake.queue_ids, now, source, counts)
    young = bool(counts["unmatched"]) and any(now - (one.time or now) < YOUNG for one in results)
    return Told(intake.fresh(found), +counts, young)


def matched(
    told: Sequence[Result], intake: Intake, queue_ids: QueueIds, now: float, source: str, counts: Counter[str]
) -> list[Feedback]:
    """Put results together with our messages. Raises LedgerError."""
    found: list[Feedback] = []
    for one in told:
        if one.passed_on:
            queue_ids.alias(one.queue_id, one.passed_on)
            counts["passed_on"] += 1
            continue
        message, proof = _message(one, intake, queue_ids)
        recipient = recipient_of(message, one.fate.also, one.fate.recipient) if message else ""
        if message is None or not recipient:
            counts["unmatched"] += 1
            continue
        counts["matched"] += 1
        when = max(one.time or now, message.received)
        found.append(result(message, recipient, one.fate, when, source, "delivery", proof, counts=True))
    return found


def _message(one: Result, intake: Intake, queue_ids: QueueIds) -> tuple[Message | None, str]:
    if one.token and (id_ := intake.tokens.verify(one.token)):
        known = feedback_queries.by_ids(intake.ledger, [id_])
        return (known[0], "seal") if known else (None, "")
    return queue_ids.find(one) or (None, "")


def _position_file(intake: Intake, path: Path) -> Path:
    name = "".join(letter if letter.isalnum() or letter in ".-_" else "_" for letter in str(path.absolute()))
    return intake.positions / f"{name.strip('_')[-200:]}.json"
