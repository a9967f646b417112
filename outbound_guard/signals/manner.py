"""Mail in another language or charset, or at another time, than this sender's own."""

from __future__ import annotations

import msgspec

from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "manner"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 2.0
_ASKED = novelty.asked((("language", "language"), ("charset", "charset"), ("hours", "time of day")))


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.manner]"""

    stranger: float = 0.5
    """How often somebody else writes in another language or charset, or at another time."""
    prior: float = 0.15
    """How often an owner does of whom nothing is known."""
    share: float = 0.5
    """Part of the evidence that counts: language and charset change together, and people write at night at times."""


def look(view: View, settings: Settings) -> Finding | None:
    """Novelty of the text's language and charset and of the quarter of the day."""
    if view.sender.kind == "forwarder":
        return None
    weight, new_ones = novelty.of_traits(view.memory, _ASKED, stranger=settings.stranger, prior=settings.prior)
    reason = f"new to this sender: {' and '.join(new_ones)}" if new_ones else "usual language, charset and time of day"
    return weight * settings.share, reason
