"""What the world answered: recipients that do not exist are the best sign of a bought or stolen list."""

from __future__ import annotations

from math import log
from typing import Any

import msgspec

from outbound_guard.signals.view import Finding, View

NAME = "refusals"
VOLUME = False
NEEDS_MEMORY = True
LOW, HIGH = -1.5, 8.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.refusals]"""

    bad_list: float = 0.15
    """Share of unknown recipients in an abuser's list."""
    own_list: float = 0.01
    """Share of unknown recipients of an honest sender of whom nothing is known."""
    refused: float = 1.6
    """Nats for a recipient refused for content or policy."""
    complaint: float = 2.5
    """Nats for a complaint."""
    most: float = 1.8
    """Nats one answer can add."""


def weigh(outcome: str, recipients: int, record: Any, settings: Settings) -> float:
    """Weight (nats) of an answer of class `outcome` (reputation.OUTCOMES) for so many recipients.

    `record` is the sender's memory: who has always had a few dead addresses is not suspected for one more.
    """
    counted = min(recipients, 5)
    known = record.delivered + record.unknown_user
    p = min(0.5, (record.unknown_user + settings.own_list * 50) / (known + 50))
    if outcome == "unknown_user":
        return min(settings.most, max(0.0, log(settings.bad_list / p)) * 0.65) * counted
    if outcome == "delivered":
        return min(0.0, log((1 - settings.bad_list) / (1 - p))) * counted
    if outcome == "refused":
        share = (record.refused + 0.5) / (record.delivered + record.refused + 100)
        return min(settings.refused, max(0.0, log(0.1 / share))) * counted
    if outcome == "complaint":
        return settings.complaint
    return 0.0


def look(view: View, settings: Settings) -> Finding | None:
    """Nothing fresh: the answers came in between; this says what they were."""
    record = view.memory.sender
    if not (record.unknown_user or record.refused or record.complaint):
        return None
    return 0.0, (
        f"of late {record.unknown_user:.0f} unknown recipients, {record.refused:.0f} refused, "
        f"{record.complaint:.0f} complaints, {record.delivered:.0f} delivered"
    )
