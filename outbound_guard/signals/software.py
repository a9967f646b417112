"""Mail written by another program, or in another time zone, than this sender's own."""

from __future__ import annotations

import msgspec

from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "software"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 2.5
_ASKED = novelty.asked((("software", "program"), ("zone", "time zone")))


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.software]"""

    stranger: float = 0.8
    """How often somebody else writes with another program, or in another time zone."""
    prior: float = 0.15
    """How often an owner does of whom nothing is known."""
    share: float = 0.6
    """Part of the evidence that counts: a new telephone changes both at once."""


def look(view: View, settings: Settings) -> Finding | None:
    """Novelty of the writing program and of the time zone in Date."""
    if view.sender.kind == "forwarder":
        return None
    weight, new_ones = novelty.of_traits(view.memory, _ASKED, stranger=settings.stranger, prior=settings.prior)
    reason = f"new to this sender: {' and '.join(new_ones)}" if new_ones else "usual program and time zone"
    return weight * settings.share, reason
