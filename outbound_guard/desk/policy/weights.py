"""What people decide about held mail adapts the weights of the signals: one factor each, in this installation.

The rule is logistic regression, learned online: one step of gradient descent on the logarithmic loss for each decision
(Goodman and Yih, Online Discriminative Spam Filter Training, CEAS 2006; as weights on opinions that are given as
log-odds: Mattern, Mixing Strategies in Data Compression, DCC 2012). A score is a sum of log-likelihood ratios, and the
threshold `hold` is where abuse and honest mail are taken to be equally likely, so

    believed probability of abuse    p = 1 / (1 + exp(hold - score))
    what a person found              y = 1 for abuse, 0 for honest mail
    step of a factor's logarithm     RATE * (y - p) * contribution of the signal to the score

The step is taken in the logarithm, where the derivative of the score is the contribution itself; so a factor stays
positive. A release lowers what spoke against the sender and raises what spoke for it, each as far as it was to blame; a
confirmation does the reverse, and next to nothing where the score said so already.

What keeps one person, one campaign or one mistake from bending the judgement:

- a factor stays between LEAST_FACTOR and MOST_FACTOR (signals), moves by AT_ONCE at most for one decision and by A_DAY
  at most within a day;
- within a day one finding about one sender, or about one text, is one lesson, whether ten messages are released or
  ten thousand;
- volume signals keep their weight, since they never convict and drain by themselves; so does `campaign`: what people
  think of a text is remembered with the text;
- every change is kept with its cause, and can be undone or reset.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Any

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.ledger import weight_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, WeightChange
from outbound_guard.ledger.weight_queries import Judged
from outbound_guard.signals import CHECKS, LEAST_FACTOR, MOST_FACTOR
from outbound_guard.spool import Entry

RATE = 0.01
AT_ONCE, A_DAY = math.log(1.03), math.log(1.10)
"""Bounds of the steps, in the logarithm of the factor: 3 % and 10 %."""
DAY = 86400.0
HONEST, ABUSE = "honest", "abuse"
LEARNING = tuple(check.NAME for check in CHECKS if not check.VOLUME and check.NAME != "campaign")
"""The signals whose weight adapts."""
_LEAST_STEP = 1e-4
"""A step that is smaller changes nothing that anybody would see, and is no row in the history."""


def step(judged: Judged, factors: Mapping[str, float], hold: float, *, abuse: bool) -> dict[str, float]:
    """The factors that one decision changes, with their new values. `hold`: that threshold, in nats."""
    error = float(abuse) - _probability(judged.score - hold)
    changed = {}
    for signal in judged.signals:
        if signal.name not in LEARNING or signal.volume or signal.shadow:
            continue
        move = min(max(RATE * error * signal.weight, -AT_ONCE), AT_ONCE)
        before = factors.get(signal.name, 1.0)
        after = _bounded(before * math.exp(move))
        if abs(math.log(after / before)) >= _LEAST_STEP:
            changed[signal.name] = after
    return changed


class Lessons:
    """What one act of the abuse desk teaches, over all the messages that it is about."""

    def __init__(self, ledger: Ledger, journal: Journal, clock: Clock, hold: float, *, by: str) -> None:
        """`hold`: the threshold of that name, in nats."""
        self._ledger, self._journal, self._clock = ledger, journal, clock
        self._hold, self._by = hold, by
        self._factors: dict[str, float] | None = None
        self._began: dict[str, float] = {}
        """The factors of a day ago, of those that changed since."""
        self._counted: set[tuple[str, str, str]] = set()
        """Finding, and the sender or text it was about, of all lessons of a day."""

    async def learn(self, entry: Entry, *, abuse: bool) -> list[WeightChange]:
        """Learn from a message that was released, or confirmed as abuse (`abuse`): what it has changed.

        Raises LedgerError, and DeskError if the journal cannot be written; then nothing has changed.
        """
        finding, text = ABUSE if abuse else HONEST, f"{entry.fingerprint:016x}" if entry.fingerprint else ""
        if self._factors is None:
            await asyncio.to_thread(self._recall)
        about = {(finding, "sender", entry.sender), (finding, "text", text)} - {(finding, "text", "")}
        known = bool(about & self._counted)
        # A text of many senders makes all of them known, and the other way round: one campaign is one lesson.
        self._counted |= about
        if known:
            return []
        judged = await asyncio.to_thread(weight_queries.judged, self._ledger, entry.id)
        if judged is None or self._factors is None:
            return []
        now = self._clock.now()
        changes = []
        for signal, after in step(judged, self._factors, self._hold, abuse=abuse).items():
            before = self._factors.get(signal, 1.0)
            began = self._began.setdefault(signal, before)
            after = min(max(after, began * math.exp(-A_DAY)), began * math.exp(A_DAY))
            if abs(math.log(after / before)) < _LEAST_STEP:
                continue
            changes.append(
                WeightChange(
                    time=now,
                    signal=signal,
                    change="learned",
                    factor_from=before,
                    factor_to=after,
                    by=self._by,
                    message=entry.id,
                    finding=finding,
                    sender=entry.sender,
                    text=text,
                )
            )
        if changes:
            _keep(self._journal, changes, "weights.learned", entry.id, finding)
            self._factors |= {change.signal: change.factor_to for change in changes}
        return changes

    def _recall(self) -> None:
        since = self._clock.now() - DAY
        factors = weight_queries.factors(self._ledger)
        ended: set[str] = set()
        for change in weight_queries.history(self._ledger, since=since):
            if change.change != "learned":
                # What was learned before somebody put it right is no measure any more.
                ended.add(change.signal)
            elif change.signal not in ended:
                self._began[change.signal] = change.factor_from
            self._counted |= {(change.finding, "sender", change.sender)} if change.sender else set()
            self._counted |= {(change.finding, "text", change.text)} if change.text else set()
        self._factors = factors


def weights_show(ledger: Ledger) -> list[dict[str, Any]]:
    """Every signal with its `factor`, whether it `adapts`, and when and by whom it was `changed` last.

    And how many `lessons` it had from honest mail and from abuse since it was reset. Raises LedgerError.
    """
    factors = weight_queries.factors(ledger)
    shown = {
        check.NAME: {
            "signal": check.NAME,
            "factor": factors.get(check.NAME, 1.0),
            "adapts": check.NAME in LEARNING,
            "honest": 0,
            "abuse": 0,
            "changed": 0.0,
            "by": "",
        }
        for check in CHECKS
    }
    for change in reversed(weight_queries.history(ledger)):
        row: dict[str, Any] | None = shown.get(change.signal)
        if row is None:
            continue
        row |= {"changed": change.time, "by": change.by}
        if change.change == "reset":
            row |= {HONEST: 0, ABUSE: 0}
        elif change.finding:
            row[change.finding] += 1 if change.change == "learned" else -1
    return list(shown.values())


def weights_reset(
    ledger: Ledger, journal: Journal, clock: Clock, signal: str = "", *, by: str, reason: str = ""
) -> list[WeightChange]:
    """Give one signal, or all, the weight of the policy again: what that changes. Raises DeskError, LedgerError."""
    if signal and signal not in LEARNING:
        raise DeskError(f"{signal}: no signal of that name learns; those that do: {', '.join(LEARNING)}")
    now = clock.now()
    changes = [
        WeightChange(time=now, signal=name, change="reset", factor_from=factor, factor_to=1.0, by=by, reason=reason)
        for name, factor in sorted(weight_queries.factors(ledger).items())
        if factor != 1.0 and signal in ("", name)
    ]
    if changes:
        _keep(journal, changes, "weights.reset", signal, reason)
    return changes


def weights_undo(
    ledger: Ledger, journal: Journal, clock: Clock, message: str, *, by: str, reason: str = ""
) -> list[WeightChange]:
    """Take back what was learned from one message, and leave what was learned since. Raises DeskError, LedgerError."""
    known = weight_queries.history(ledger, message=message)
    if not known:
        raise DeskError(f"nothing was learned from {message}")
    if known[0].change == "undone":
        raise DeskError(f"what was learned from {message} is undone already")
    factors, now, changes = weight_queries.factors(ledger), clock.now(), []
    for lesson in known:
        if any(c.change == "reset" for c in _later(weight_queries.history(ledger, signal=lesson.signal), lesson)):
            continue  # It is gone already.
        before = factors.get(lesson.signal, 1.0)
        changes.append(
            WeightChange(
                time=now,
                signal=lesson.signal,
                change="undone",
                factor_from=before,
                factor_to=_bounded(before * lesson.factor_from / lesson.factor_to),
                by=by,
                reason=reason,
                message=message,
                finding=lesson.finding,
            )
        )
    if not changes:
        raise DeskError(f"what was learned from {message} has been reset already")
    _keep(journal, changes, "weights.undone", message, reason)
    return changes


def _later(history: list[WeightChange], than: WeightChange) -> Iterable[WeightChange]:
    return (change for change in history if change.time > than.time)


def _keep(journal: Journal, changes: list[WeightChange], what: str, subject: str, why: str) -> None:
    moved = ", ".join(f"{c.signal} {c.factor_from:.3f} -> {c.factor_to:.3f}" for c in changes)
    detail = f"{why}: {moved}" if why else moved
    first = changes[0]
    on_disk(journal, *changes, Audit(time=first.time, by=first.by, what=what, subject=subject, detail=detail))


def _bounded(factor: float) -> float:
    return min(max(factor, LEAST_FACTOR), MOST_FACTOR)


def _probability(log_odds: float) -> float:
    """The logistic function, for any argument."""
    return 0.5 * (1.0 + math.tanh(log_odds / 2))
