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
HABIT = False
LOW, HIGH = -0.5, 8.0
_SPEAKING = frozenset(("unknown_user", "refused", "reached", "complaint"))
"""Outcomes that say something about the sender."""


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.refusals]"""

    bad_list: float = 0.2
    """Share of unknown recipients in an abuser's list."""
    own_list: float = 0.02
    """Share of unknown recipients of an honest sender of whom nothing is known."""
    own_list_most: float = 0.08
    """Share that is taken for honest at most, whatever the sender's past: a bought list must not excuse itself."""
    bad_refused: float = 0.1
    """Share of an abuser's recipients that is refused for content or policy."""
    own_refused: float = 0.005
    """The same of an honest sender of whom nothing is known."""
    own_refused_most: float = 0.05
    proven: float = 30.0
    """Deliveries of late from which on a bad answer is weighed against them: rejections come before deliveries."""
    proven_bad: float = 0.1
    """Share of bad answers up to which the list is taken for good then."""
    proven_share: float = 0.25
    """Part of the weight of a bad answer that is left then."""
    complaint: float = 2.5
    """Nats for a complaint."""
    proven_complaints: float = 0.003
    """Complaints for each delivery up to which a proven sender's complaints are what every list gets: the rate that the
    large receivers' guidelines for bulk senders call too high."""
    most: float = 1.8
    """Nats one bad answer can add."""
    counted: int = 5
    """Bad answers to one message that count: they were not chosen independently."""


def weigh(outcome: str, recipients: int, profile: Any, settings: Settings) -> float:
    """Weight (nats) of an answer of class `outcome` (reputation.OUTCOMES) for so many recipients.

    `profile` is the sender's memory: who has always had a few dead addresses is not suspected for one more.
    """
    if outcome not in _SPEAKING:
        return 0.0  # As most do: that a message was taken says nothing.
    listed = profile.reached + profile.unknown_user + 50
    known = profile.delivered + profile.unknown_user + profile.refused + 50
    unknown = min(settings.own_list_most, (profile.unknown_user + settings.own_list * 50) / listed)
    refused = min(settings.own_refused_most, (profile.refused + settings.own_refused * 50) / known)
    counted: float = min(recipients, settings.counted)
    # Unknown recipients speak of the list, and so do those that were reached for the first time.
    good = profile.reached if outcome == "unknown_user" else profile.delivered
    bad = profile.unknown_user + profile.refused + recipients
    if good >= settings.proven and bad <= settings.proven_bad * (bad + good):
        counted *= settings.proven_share
    if outcome == "unknown_user":
        return min(settings.most, max(0.0, log(settings.bad_list / unknown))) * counted
    if outcome == "refused":
        return min(settings.most, max(0.0, log(settings.bad_refused / refused))) * counted
    if outcome == "reached":
        # That a recipient exists speaks for the list; it says nothing about what is written.
        return min(0.0, log((1 - settings.bad_list) / (1 - unknown))) * recipients
    usual = profile.complaint + recipients <= settings.proven_complaints * profile.delivered
    return settings.complaint * (settings.proven_share if usual else 1.0)


def look(view: View, settings: Settings) -> Finding | None:
    """Nothing fresh: the answers came in between; this says what they were."""
    record = view.memory.sender
    if not (record.unknown_user or record.refused or record.complaint):
        return None
    return 0.0, (
        f"of late {record.unknown_user:.0f} unknown recipients, {record.refused:.0f} refused, "
        f"{record.complaint:.0f} complaints, {record.delivered:.0f} delivered, {record.reached:.0f} of them new"
    )
