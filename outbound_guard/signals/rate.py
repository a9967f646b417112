"""More mail than this sender's habit. About volume alone: it may hold, it never convicts."""

from __future__ import annotations

from math import log

import msgspec

from outbound_guard.reputation import recent
from outbound_guard.signals.view import Finding, View

NAME = "rate"
VOLUME = True
NEEDS_MEMORY = True
LOW, HIGH = 0.0, 7.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.rate]"""

    floor: float = 60.0
    """Recipients an hour that are nothing special for a sender without a history."""
    factor: float = 3.0
    """How many times its highest calm hour a sender may reach."""
    steepness: float = 2.0
    """Nats for each doubling beyond that."""


def look(view: View, settings: Settings) -> Finding | None:
    """Compare the last hour's recipients with the highest calm hour of this sender."""
    memory = view.memory
    sent = recent(memory.sender_traffic, "hour", "recipients", view.now)
    peak = memory.hour_peak
    usual = max(settings.floor, settings.factor * peak)
    if sent <= usual:
        return None
    # The sum is the state of the last hour, not a memory: what is already in it is not added again.
    return settings.steepness * log(
        sent / usual, 2
    ), f"{sent:.0f} recipients in the last hour, usually at most {peak:.0f}"
