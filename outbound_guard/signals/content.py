"""What the content model says, against what this sender always writes."""

from __future__ import annotations

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "content"
VOLUME = False
NEEDS_MEMORY = False
ADDS_UP = True
HABIT = False
LOW, HIGH = -1.0, 7.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.content]"""

    low: float = -1.0
    high: float = 3.0
    """Least and most one message can add, in nats."""
    usual: float = 0.9
    """Part of what this sender's mail always scores that is taken off: a pharmacy writes about medicines."""
    usual_most: float = 2.5
    """Nats that can be taken off for that."""
    visitors: float = 0.4
    """Part that counts of what a script writes to whom it always writes: visitors of a site fill in its form."""


def look(view: View, settings: Settings) -> Finding | None:
    """The model's weight of evidence, less what is usual for the sender."""
    if view.opinion is None:
        return None
    said, why = view.opinion
    # Of somebody who has written little, little is known to be usual.
    seen = view.memory.keeper.content_seen
    usual = settings.usual * seen / (seen + 3.0) * min(max(view.memory.keeper.content, 0.0), settings.usual_most)
    weight = min(max(said, settings.low), settings.high)
    if weight > 0:
        weight = max(0.0, weight - usual)
        if view.sender.kind == "script" and not view.memory.new_recipients:
            weight *= settings.visitors
    if usual >= 0.1:
        why = f"{why}; {said:+.1f}, of which {usual:.1f} is usual for this sender"
    return weight, why
