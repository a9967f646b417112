"""The same text again and again, from a place that is new to the mailbox, whose owner seldom repeats himself.

An owner's first mailing repeats a text too: it comes from where he always is, and is none of this check's business.
"""

from __future__ import annotations

import msgspec

from outbound_guard.signals import novelty
from outbound_guard.signals.view import Finding, View

NAME = "copies"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -0.5, 2.5
TWICE = 2
"""Times that people send the same text by hand."""


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.copies]"""

    stranger: float = 0.8
    """How often an intruder's message repeats a text."""
    prior: float = 0.2
    """How often an owner's does of whom nothing is known."""


def look(view: View, settings: Settings) -> Finding | None:
    """How often this sender has sent the text within a week, against how often it repeats one."""
    memory = view.memory
    if memory.campaign is None or view.sender.kind != "mailbox" or not memory.is_new("network"):
        return None
    times, keeper = memory.campaign.times, memory.keeper
    weight = novelty.weight(
        times > TWICE,
        keeper.messages,
        keeper.copied * keeper.messages,
        stranger=settings.stranger,
        prior=settings.prior,
    )
    return weight, f"this text for the {times}. time (usually {keeper.copied:.0%} of its mail repeats one)"
