"""More mail than this sender's habit. About volume alone: it may hold, it never convicts."""

from __future__ import annotations

from math import log

import msgspec

from outbound_guard.reputation import recent
from outbound_guard.signals.view import Finding, View

NAME = "rate"
VOLUME = True
NEEDS_MEMORY = True
ADDS_UP = False
HABIT = False
LOW, HIGH = 0.0, 7.0


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[signal.rate]"""

    floor: float = 60.0
    """Recipients an hour that are nothing special for a sender without a history."""
    floor_day: float = 300.0
    """The same in a day."""
    factor: float = 3.0
    """How many times its highest calm hour, or day, a sender may reach."""
    steepness: float = 2.0
    """Nats for each doubling beyond that."""
    proven: float = 30.0
    """Deliveries of late after which the answers of the world count more than the volume."""
    proven_unknown: float = 0.1
    """Share of unknown or refused recipients up to which those answers are good."""
    proven_share: float = 0.25
    """Part of the weight that is left then."""


def look(view: View, settings: Settings) -> Finding | None:
    """Compare the recipients of the last hour, and day, with the highest calm hour, and day, of this sender."""
    memory, traffic = view.memory, view.memory.sender_traffic
    if (
        traffic.hour_recipients + traffic.hour_before_recipients <= settings.floor
        and traffic.day_recipients + traffic.day_before_recipients <= settings.floor_day
    ):
        return None  # A sliding window holds no more than the two fixed ones, and nobody's usual is less than this.
    excess, reason, first_contacts = 1.0, "", False
    for window, peak, floor in (
        ("hour", memory.hour_peak, settings.floor),
        ("day", memory.day_peak, settings.floor_day),
    ):
        sent = recent(traffic, window, "recipients", view.now)
        usual = max(floor, settings.factor * peak)
        if sent > usual * excess:
            excess = sent / usual
            first_contacts = recent(traffic, window, "new", view.now) > usual
            reason = f"{sent:.0f} recipients in the last {window}, usually at most {peak:.0f}"
    if not reason:
        return None
    weight = settings.steepness * log(excess, 2)
    # A first newsletter is as large as a spam run, but its recipients exist: the first slice shows which it is. A loop
    # that reports its error to the same few again and again has their deliveries for it.
    profile = memory.sender
    good, bad = profile.reached if first_contacts else profile.delivered, profile.unknown_user + profile.refused
    if good >= settings.proven and bad <= settings.proven_unknown * (bad + good):
        weight *= settings.proven_share
        reason += f"; of {good + bad:.0f} answers of late {good:.0f} were good"
    return weight, reason
