"""What the world answered: recipients that do not exist are the best sign of a bought or stolen list."""

from __future__ import annotations

from math import log
from typing import Any

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "refusals"
VOLUME = False
NEEDS_MEMORY = True
ADDS_UP = True
LOW, HIGH = -1.5, 8.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.refusals]"""

    bad_list: float = 0.15
    """Share of unknown recipients in an abuser's list."""
    own_list: float = 0.02
    """Share of unknown recipients of an honest sender of whom nothing is known."""
    bad_refused: float = 0.1
    """Share of an abuser's recipients that is refused for content or policy."""
    own_refused: float = 0.005
    """The same of an honest sender of whom nothing is known."""
    complaint: float = 2.5
    """Nats for a complaint."""
    most: float = 1.8
    """Nats one bad answer can add."""
    counted: int = 5
    """Bad answers to one message that count: they were not chosen independently."""


def weigh(outcome: str, recipients: int, profile: Any, settings: Settings) -> float:
    """Weight (nats) of an answer of class `outcome` (reputation.OUTCOMES) for so many recipients.

    `profile` is the sender's memory: who has always had a few dead addresses is not suspected for one more.
    """
    known = profile.delivered + profile.unknown_user + profile.refused + 50
    unknown = min(0.5, (profile.unknown_user + settings.own_list * 50) / known)
    refused = min(0.5, (profile.refused + settings.own_refused * 50) / known)
    counted = min(recipients, settings.counted)
    if outcome == "unknown_user":
        return min(settings.most, max(0.0, log(settings.bad_list / unknown))) * counted
    if outcome == "refused":
        return min(settings.most, max(0.0, log(settings.bad_refused / refused))) * counted
    if outcome == "delivered":
        good = 1 - settings.bad_list - settings.bad_refused
        return min(0.0, log(good / (1 - unknown - refused))) * recipients
    return settings.complaint if outcome == "complaint" else 0.0


def look(view: View, settings: Settings) -> Finding | None:
    """Nothing fresh: the answers came in between; this says what they were."""
    record = view.memory.sender
    if not (record.unknown_user or record.refused or record.complaint):
        return None
    return 0.0, (
        f"of late {record.unknown_user:.0f} unknown recipients, {record.refused:.0f} refused, "
        f"{record.complaint:.0f} complaints, {record.delivered:.0f} delivered"
    )
