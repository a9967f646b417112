"""Recipients this sender has never written to, against how often that is normal for it."""

from __future__ import annotations

import msgspec

from outbound_guard.signals.novelty import own_rate, ratio
from outbound_guard.signals.view import Finding, View

NAME = "recipients"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
HABIT = True
LOW, HIGH = -1.0, 4.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.recipients]"""

    stranger: float = 0.97
    """Share of new recipients in the mail of somebody else."""
    prior: float = 0.5
    """Share of new recipients of an owner of whom nothing is known."""
    counted: int = 3
    """Recipients of one message that count: they were not chosen independently."""


def look(view: View, settings: Settings) -> Finding | None:
    """The log-likelihood ratio of this message's new and known recipients."""
    if view.sender.kind == "forwarder":
        return None
    memory = view.memory
    in_all = len(view.submission.envelope.recipients)
    new = min(memory.new_recipients, in_all)
    keeper = memory.keeper
    p = own_rate(keeper.recipients, keeper.new, settings.prior)
    reliance = keeper.messages / (keeper.messages + 5.0)
    weight = reliance * (
        min(new, settings.counted) * ratio(True, p, settings.stranger)
        + min(in_all - new, settings.counted) * ratio(False, p, settings.stranger)
    )
    return weight, f"{new} of {in_all} recipients are new to this sender (usually {p:.0%})"
