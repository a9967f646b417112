"""What each signal has said lately, and what its word was worth: above all of those that are in shadow."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from outbound_guard.config.policy import Thresholds
from outbound_guard.ledger import signal_queries
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.weight_queries import Judged
from outbound_guard.signals import CHECKS

LATEST = 1000
"""Messages that are looked at, at most."""
WITHIN = 7 * 86400.0
"""Seconds."""
_HEARD = 0.1
"""Nats below which a signal says nothing."""


class Effect(msgspec.Struct, frozen=True):
    """What one signal did in the messages that were looked at."""

    signal: str
    spoke: int
    """Messages in which it said something."""
    against: int
    """Of these, those in which it spoke for abuse."""
    matters: int
    """Messages that would pass another threshold without it; of a signal in shadow: with it."""
    stricter: int
    """Of these, those that are treated more strictly with it."""


def effects(ledger: Ledger, now: float, thresholds: Thresholds) -> tuple[int, dict[str, Effect]]:
    """How many messages were looked at, and the effect of each signal in them. SQL: in a thread. Raises LedgerError.

    The thresholds are compared with the score alone: what depends on a sender's standing, its limits or its trust is
    left out.
    """
    judged = signal_queries.judged_lately(ledger, now - WITHIN, LATEST)
    return len(judged), {effect.signal: effect for effect in _counted(judged, thresholds)}


def _counted(judged: Iterable[Judged], thresholds: Thresholds) -> list[Effect]:
    counts = {check.NAME: [0, 0, 0, 0] for check in CHECKS}
    for one in judged:
        now = _step(one.score, thresholds)
        for signal in one.signals:
            count = counts.get(signal.name)
            if count is None or abs(signal.weight) < _HEARD:
                continue
            count[0] += 1
            count[1] += signal.weight > 0
            other = _step(one.score + (signal.weight if signal.shadow else -signal.weight), thresholds)
            with_it, without = (other, now) if signal.shadow else (now, other)
            count[2] += with_it != without
            count[3] += with_it > without
    return [Effect(name, *count) for name, count in counts.items()]


def _step(score: float, thresholds: Thresholds) -> int:
    """How many of the thresholds that act on mail a score passes."""
    return sum(score >= step for step in (thresholds.hold, thresholds.quarantine, thresholds.suspend))
